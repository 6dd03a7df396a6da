"""A discriminator that is told scores which hardly any two samples share: what is near a score stands for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from zmax.core.rng import stream
from zmax.generators.judge import Judge
from zmax.generators.mapped import linear
from zmax.natural.ratio import moments, take_moments

Batch = tuple[Tensor, Tensor]
"""Samples and their labels in [0, 1]."""

LEAST = 1e-3
"""Weight below which a sample is not in the vicinity of a score."""

WIDTH = 128
"""Length of what a score is told by."""

RATE, BETAS = 2e-4, (0.5, 0.999)
"""Of the discriminator's Adam: twice the authors' rate, since it begins with nothing beside a trained generator."""


def bandwidths(label: Float[Tensor, " n"], reach: float) -> tuple[float, float]:
    r"""Return the spread of the noise of labels in [0, 1], and the sharpness of their vicinity.

    .. math:: \sigma = \Bigl(\frac{4\, \hat\sigma^5}{3 n}\Bigr)^{1/5}, \qquad
        \nu = \frac{1}{\kappa^2}, \quad \kappa = \text{reach} \cdot \max_i |y_{(i+1)} - y_{(i)}|

    Reference: Ding et al. 2021, *CcGAN*, section 2.2 and its rules of thumb, https://arxiv.org/abs/2011.07466.
    """
    distinct = label.double().unique()
    sigma = (4 * float(label.double().std()) ** 5 / (3 * len(label))) ** 0.2
    kappa = reach * float(distinct.diff().max()) if len(distinct) > 1 else 1.0
    return sigma, kappa**-2


def soft_weights(label: Tensor, target: Tensor, nu: float) -> Tensor:
    r"""Return :math:`e^{-\nu (y - y')^2}`."""
    return (-nu * (label - target).square()).exp()


def nearby(
    label: Float[Tensor, " n"], target: Float[Tensor, " m"], nu: float, rng: torch.Generator
) -> Int[Tensor, " m"]:
    """Return for each target a sample drawn evenly among those in its vicinity; of none, the nearest."""
    far = (label[None] - target[:, None]).abs()
    near = far.square() <= -math.log(LEAST) / nu
    drawn = torch.rand(far.shape, generator=rng, device="cpu")
    return torch.where(near.any(1), drawn.masked_fill(~near, -1.0).argmax(1), far.argmin(1))


def around(target: Float[Tensor, " m"], nu: float, rng: torch.Generator) -> Float[Tensor, " m"]:
    """Return a label drawn evenly from the vicinity of each target, within [0, 1]."""
    reach = math.sqrt(-math.log(LEAST) / nu)
    low, high = (target - reach).clamp(0, 1), (target + reach).clamp(0, 1)
    return low + (high - low) * torch.rand(target.shape, generator=rng, device="cpu")


class Vicinal(nn.Module):
    r"""Tells samples of a score from others: a logit with a projection of the score onto features of the sample.

    .. math:: D(x, y) = a^T h(x) + e(y)^T V h(x)

    Reference: Miyato & Koyama 2018, *cGANs with projection discriminator*, eq. 5, https://arxiv.org/abs/1802.05637.

    Args:
        shape: of a sample, as :func:`~zmax.core.samples.sized` gives it.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        rng = stream(0, "vicinal", *shape)
        self.shape = tuple(shape)
        self.features = Judge(shape, WIDTH)
        self.alone = linear(WIDTH, 1, rng)
        self.first, self.second = linear(2, WIDTH, rng), linear(WIDTH, WIDTH, rng)
        self.features.end = linear(self.features.hidden[1], WIDTH, rng)
        self.optimiser = torch.optim.Adam(self.moving(), RATE, betas=BETAS)

    def moving(self) -> list[nn.Parameter]:
        """Return the weights that are trained."""
        return [weight for weight in self.parameters() if weight.requires_grad]

    def forward(self, x: Float[Tensor, "n ..."], label: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the logit that each sample is real, of labels in [0, 1]."""
        h = silu(self.features(x))
        told = torch.stack([label, label.square()], 1).to(h)
        e = self.second(silu(self.first(2 * told - 1)))
        logit: Tensor = self.alone(h)[:, 0] + (e * h).sum(1) / WIDTH**0.5
        return logit

    def loss(self, real: Batch, fake: Batch, target: Float[Tensor, " n"], nu: float) -> Float[Tensor, ""]:
        r"""Return the soft vicinal loss.

        .. math:: -E\, w(y_r, y)\, \log \sigma(D(x_r, y)) - E\, w(y_f, y)\, \log(1 - \sigma(D(x_f, y)))

        Reference: Ding et al. 2021, *CcGAN*, section 2, https://arxiv.org/abs/2011.07466.

        Args:
            real, fake: samples with their labels.
            target: y, the labels that the discriminator is told.
            nu: sharpness of w.
        """
        (x_r, y_r), (x_f, y_f) = real, fake
        known = soft_weights(y_r, target, nu) * softplus(-self(x_r, target))
        made = soft_weights(y_f, target, nu) * softplus(self(x_f, target))
        return known.mean() + made.mean()

    def update(self, real: Batch, fake: Batch, target: Float[Tensor, " n"], nu: float) -> float:
        """Take a step of Adam on that loss, and return it as it was before."""
        with torch.enable_grad():
            loss = self.loss(real, fake, target, nu)
            self.optimiser.zero_grad()
            loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        return float(loss.detach())

    def tensors(self) -> dict[str, Tensor]:
        """Return all there is of it, the optimiser's moments included."""
        shape = torch.tensor(self.shape, dtype=torch.long, device="cpu")
        found = {"shape": shape, **self.state_dict()} | moments(self, self.optimiser)
        return {name: value.detach().clone() for name, value in found.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Vicinal:
        """Put it together again; it goes on bit for bit as the one that gave the tensors."""
        made = cls(tensors["shape"].tolist())
        made.load_state_dict({name: tensors[name] for name in made.state_dict()})
        take_moments(made, made.optimiser, tensors)
        return made
