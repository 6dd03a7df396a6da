"""The loss of a variational autoencoder: its evidence lower bound."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from zmax.core.errors import CapabilityError, InputError
from zmax.core.generator import Generator

GAUSSIAN, BERNOULLI = LIKELIHOODS = ("gaussian", "bernoulli")


def known_likelihood(method: str, likelihood: str) -> None:
    """Raise InputError unless there is such a likelihood."""
    if likelihood not in LIKELIHOODS:
        raise InputError(f"{method}(likelihood=...)", expected=" or ".join(LIKELIHOODS), got=repr(likelihood))


def negative_elbo(
    generator: Generator,
    x: Float[Tensor, "n ..."],
    noise: Float[Tensor, "n dim"],
    likelihood: str = GAUSSIAN,
    beta: float = 1.0,
) -> Float[Tensor, " n"]:
    r"""Return minus the evidence lower bound of each sample, divided by the values that a sample has.

    .. math:: -\log p(x | u) + \beta\, KL(q(u | x) \| N(0, I)), \qquad u = \mu(x) + \sigma(x)\, \epsilon

    Reference: Kingma and Welling 2014, *Auto-encoding variational Bayes*, eq. 10, https://arxiv.org/abs/1312.6114;
    the weight: Higgins et al. 2017, *beta-VAE*, eq. 4, https://openreview.net/forum?id=Sy2fzU9gl.

    Args:
        generator: one with an encoder; what it decodes is the mean of p(x | u).
        x: samples.
        noise: :math:`\epsilon`.
        likelihood: "gaussian", of unit variance, up to a constant; or "bernoulli", of samples rounded to 0 and 1.
        beta: with a Gaussian of variance v and a weight of 1, what is descended is that of beta = v, divided by v.

    Raises:
        CapabilityError: what the generator decodes is no tensor.
    """
    assert generator.encoder is not None, "made so before training"
    mean, log_variance = generator.encoder(x)
    u = mean + (log_variance / 2).exp() * noise.to(mean)
    made = generator.decode(generator.space.latents(u))
    if not isinstance(made, Tensor):
        raise CapabilityError(f"the loss of {generator.name!r}", expected="samples that are tensors", got=type(made))
    x = x.to(made)
    if likelihood == BERNOULLI:
        error = functional.binary_cross_entropy(made, x.round(), reduction="none")
    else:
        error = (made - x).square() / 2
    kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
    loss: Tensor = (error.flatten(1).sum(1) + beta * kl) / x[0].numel()
    return loss
