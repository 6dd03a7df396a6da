"""What networks predict, and the denoiser E[x_0 | x_t] around a network that predicts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn

from zmax.core.defaults import theirs
from zmax.core.errors import InputError
from zmax.core.generator import Schedule
from zmax.generators.diffusion.steps import spread_over

Prediction = Literal["epsilon", "v", "x0", "velocity"]
"""The noise; v of progressive distillation; the data; the velocity of a straight path from data to noise."""

Time = Callable[[Tensor], Tensor]
"""The schedule's time (n,) to what the network takes."""


def denoised(
    output: Float[Tensor, "n ..."],
    x_t: Float[Tensor, "n ..."],
    schedule: Schedule,
    t: Float[Tensor, " n"],
    prediction: Prediction,
) -> Float[Tensor, "n ..."]:
    r"""Return :math:`\hat x_0` of what a network says; the inverse of :func:`predicted`.

    .. math:: \hat x_0 = \frac{x_t - \sigma \hat\epsilon}{\alpha}
        = \frac{\alpha x_t - \sigma \hat v}{\alpha^2 + \sigma^2} = \frac{x_t - \sigma \hat u}{\alpha + \sigma}

    with :math:`v = \alpha\epsilon - \sigma x_0` and the velocity :math:`u = \epsilon - x_0`.

    Reference: Salimans & Ho 2022, app. D, https://arxiv.org/abs/2202.00512, for any alpha and sigma; the velocity is
    that of Liu et al. 2023, eq. 1, https://arxiv.org/abs/2209.03003.

    Args:
        output: the network's answer.
        x_t: the noisy sample that it was asked about.
        schedule: noise levels.
        t: times.
        prediction: what the answer means. "epsilon" tells nothing of x_0 at alpha = 0.

    Raises:
        InputError: there is no such prediction.
    """
    alpha, sigma = _levels(schedule, t, x_t)
    if prediction == "epsilon":
        return (x_t - sigma * output) / alpha
    if prediction == "v":
        return (alpha * x_t - sigma * output) / (alpha.square() + sigma.square())
    if prediction == "velocity":
        return (x_t - sigma * output) / (alpha + sigma)
    _check(prediction)
    return output


def predicted(
    x_0: Float[Tensor, "n ..."],
    x_t: Float[Tensor, "n ..."],
    schedule: Schedule,
    t: Float[Tensor, " n"],
    prediction: Prediction,
) -> Float[Tensor, "n ..."]:
    """Return what a network would say for a given x_0; the inverse of :func:`denoised`, for sigma > 0.

    Args:
        x_0: the data, or its posterior mean.
        x_t: the noisy sample.
        schedule: noise levels.
        t: times.
        prediction: what the network predicts.

    Raises:
        InputError: there is no such prediction.

    Example:
        >>> import torch
        >>> from zmax.generators.diffusion.schedules import RectifiedFlow
        >>> x_0, eps, t = torch.tensor([[2.0]]), torch.tensor([[1.0]]), torch.tensor([0.25])
        >>> u = predicted(x_0, 0.75 * x_0 + 0.25 * eps, RectifiedFlow(), t, "velocity")
        >>> u.tolist(), denoised(u, 0.75 * x_0 + 0.25 * eps, RectifiedFlow(), t, "velocity").tolist()
        ([[-1.0]], [[2.0]])
    """
    _check(prediction)
    if prediction == "x0":
        return x_0
    alpha, sigma = _levels(schedule, t, x_t)
    eps = (x_t - alpha * x_0) / sigma
    if prediction == "epsilon":
        return eps
    return alpha * eps - sigma * x_0 if prediction == "v" else eps - x_0


def discrete_index(count: int) -> Time:
    """Return the time map of a network trained on discrete steps 0 .. count - 1, whose last is time 1.

    Args:
        count: number of discrete steps, such as 1,000; time t is index count * t - 1, rounded.

    Example:
        >>> import torch
        >>> discrete_index(1000)(torch.tensor([1.0, 0.5, 0.001])).tolist()
        [999, 499, 0]
    """
    return lambda t: (t.double() * count - 1).round().long().clamp(0, count - 1)


class NetworkDenoiser(nn.Module):
    r"""A network as the denoiser (x_t, t) -> E[x_0 | x_t]; see :func:`denoised` for the equations.

    Args:
        network: (x_t, time(t)) -> the prediction, of the shape of x_t.
        schedule: noise levels.
        prediction: "epsilon", "v", "x0" or "velocity".
        time: maps the schedule's time to what the network takes, such as :func:`discrete_index`; as it is if None.

    Raises:
        InputError: there is no such prediction.
    """

    def __init__(
        self, network: nn.Module, schedule: Schedule, *, prediction: Prediction = "epsilon", time: Time | None = None
    ) -> None:
        super().__init__()
        _check(prediction)
        self.network, self.schedule, self.prediction, self.time = network, schedule, prediction, time

    def forward(self, x_t: Float[Tensor, "n ..."], t: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        """Return E[x_0 | x_t] by one evaluation of the network."""
        with theirs():
            output = self.network(x_t, t if self.time is None else self.time(t))
        return denoised(output, x_t, self.schedule, t, self.prediction)


class EDMDenoiser(nn.Module):
    r"""A network with the preconditioning of EDM as a denoiser.

    With :math:`\bar x = x_t / \alpha` and :math:`\bar\sigma = \sigma / \alpha`,

    .. math:: E[x_0 | x_t] = c_{skip} \bar x + c_{out} F(c_{in} \bar x, c_{noise}), \quad
        c_{skip} = \frac{s^2}{\bar\sigma^2 + s^2},\;
        c_{out} = \frac{\bar\sigma s}{\sqrt{\bar\sigma^2 + s^2}},\;
        c_{in} = \frac{1}{\sqrt{\bar\sigma^2 + s^2}},\; c_{noise} = \tfrac14 \ln \bar\sigma

    Reference: Karras et al. 2022, *EDM*, eq. 7 and table 1, https://arxiv.org/abs/2206.00364.

    Args:
        network: F, (c_in x, c_noise) -> tensor of the shape of x.
        schedule: noise levels; :class:`~zmax.generators.diffusion.schedules.EDM` as published, any with alpha > 0 will
            do.
        sigma_data: standard deviation s of the data.

    Raises:
        InputError: sigma_data is not positive.
    """

    def __init__(self, network: nn.Module, schedule: Schedule, *, sigma_data: float = 0.5) -> None:
        super().__init__()
        if not sigma_data > 0:
            raise InputError("sigma_data of EDM's preconditioning", expected="a positive number", got=sigma_data)
        self.network, self.schedule, self.sigma_data = network, schedule, sigma_data

    def forward(self, x_t: Float[Tensor, "n ..."], t: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        """Return E[x_0 | x_t] by one evaluation of the network."""
        alpha, noise = _levels(self.schedule, t, x_t)
        x, sigma = x_t / alpha, (noise / alpha).clamp_min(1e-12)
        skip, out, scale, level = preconditioning(sigma, self.sigma_data)
        with theirs():
            output = self.network(scale * x, level.flatten())
        answer: Tensor = skip * x + out * output
        return answer


def preconditioning(sigma: Float[Tensor, ...], sigma_data: float = 0.5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return c_skip, c_out, c_in and c_noise of EDM; see :class:`EDMDenoiser`.

    Args:
        sigma: noise levels, positive.
        sigma_data: standard deviation of the data.
    """
    total = sigma.square() + sigma_data**2
    return sigma_data**2 / total, sigma * sigma_data / total.sqrt(), total.rsqrt(), sigma.log() / 4


def _levels(schedule: Schedule, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    return spread_over(schedule.alpha(t), like), spread_over(schedule.sigma(t), like)


def _check(prediction: str) -> None:
    if prediction not in get_args(Prediction):
        raise InputError("what the network predicts", expected=", ".join(get_args(Prediction)), got=repr(prediction))
