"""One step from noise towards data, for any noise levels alpha and sigma."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError
from zmax.core.generator import Schedule
from zmax.core.samples import spread


def predicted_noise(
    x_t: Float[Tensor, "n ..."], x_0: Float[Tensor, "n ..."], schedule: Schedule, t: Float[Tensor, " n"]
) -> Float[Tensor, "n ..."]:
    r"""Return :math:`E[\epsilon | x_t] = (x_t - \alpha_t E[x_0 | x_t]) / \sigma_t`."""
    return (x_t - spread_over(schedule.alpha(t), x_t) * x_0) / spread_over(schedule.sigma(t), x_t)


def ddim_step(
    x_t: Float[Tensor, "n ..."],
    x_0: Float[Tensor, "n ..."],
    schedule: Schedule,
    t: Float[Tensor, " n"],
    s: Float[Tensor, " n"],
    *,
    eta: float = 0.0,
    noise: Float[Tensor, "n ..."] | None = None,
) -> Float[Tensor, "n ..."]:
    r"""Go from time t to the earlier time s.

    .. math:: x_s = \alpha_s \hat x_0 + \sqrt{\sigma_s^2 - c^2}\, \hat\epsilon + c\, \xi, \quad
        c^2 = \eta^2 \frac{\sigma_s^2}{\sigma_t^2}
        \left(\sigma_t^2 - \frac{\alpha_t^2}{\alpha_s^2} \sigma_s^2\right)

    Reference: Song et al. 2021, *DDIM*, eqs. 12 and 16, https://arxiv.org/abs/2010.02502, for any alpha and sigma;
    eta = 1 is ancestral sampling (DDPM), eta = 0 is deterministic.

    Args:
        x_t: the noisy sample.
        x_0: the denoiser's answer E[x_0 | x_t].
        schedule: noise levels.
        t: present times.
        s: times to go to, s < t.
        eta: share of the noise that is drawn afresh, in [0, 1].
        noise: the fresh noise xi, needed where eta > 0.

    Raises:
        InputError: eta > 0 without noise.
    """
    if eta > 0 and noise is None:
        raise InputError("a DDIM step with eta > 0", expected="the injected noise", remedy="pass noise=, or eta=0")
    alpha_t, sigma_t, alpha_s, sigma_s = (f(v) for v in (t, s) for f in (schedule.alpha, schedule.sigma))
    variance = sigma_t.square() - (alpha_t / alpha_s).square() * sigma_s.square()
    fresh = eta * sigma_s / sigma_t * variance.clamp_min(0).sqrt()
    kept = (sigma_s.square() - fresh.square()).clamp_min(0).sqrt()
    eps = (x_t - spread_over(alpha_t, x_t) * x_0) / spread_over(sigma_t, x_t)
    out = spread_over(alpha_s, x_t) * x_0 + spread_over(kept, x_t) * eps
    return out if noise is None else out + spread_over(fresh, x_t) * noise


def spread_over(value: Float[Tensor, " one_or_n"], like: Float[Tensor, "n ..."]) -> Tensor:
    """Return one value a row in a shape that multiplies `like`."""
    return spread(value.to(like.dtype), like)
