"""How much likelier a sample is under one diffusion or flow model than under another."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.generator import DiffusionGenerator
from zmax.core.samples import spread

FIRST, WIDTH = 0.03, 1e-3
"""Square root of the least share of the time at which errors are taken, and relative step of differences in time."""


def log_ratio(
    child: DiffusionGenerator,
    parent: DiffusionGenerator,
    x_0: Float[Tensor, "n ..."],
    pairs: int,
    rng: torch.Generator,
) -> Float[Tensor, " n"]:
    r"""Return estimates of how much likelier the child makes each sample than the parent does, in nats.

    .. math:: \log\frac{q(x_0)}{p(x_0)} = \frac12 \int E_\epsilon\bigl[
        \|x_0 - \hat x_0^p(x_t)\|^2 - \|x_0 - \hat x_0^q(x_t)\|^2\bigr]\, d\,\frac{\alpha^2}{\sigma^2}

    which is exact for exact denoisers. Times are stratified, more of them near the data, and a pair of errors is of the
    same noise, so that two models that agree give exactly 0.

    Reference: Kong et al., Information-theoretic diffusion, ICLR 2023, equation 8, https://arxiv.org/abs/2302.03792.

    Args:
        child, parent: q and p, of one schedule.
        x_0: ends of paths, in the networks' scale.
        pairs: noised copies of each sample, each beside that of the opposite noise, by which the errors' first order
            cancels; a pair costs two evaluations of both networks.
        rng: draws times and noises.
    """
    n, schedule = len(x_0), child.schedule
    first, total = float(schedule.times(1)[0]), torch.zeros(len(x_0), dtype=torch.float64)

    def ratio(t: Tensor) -> Tensor:
        return (schedule.alpha(t) / schedule.sigma(t)).square()

    for k in range(pairs):
        share = (k + torch.rand(n, generator=rng, device="cpu", dtype=torch.float64)) / pairs
        share = share.clamp(FIRST, 1 / (1 + WIDTH))
        below, above = (first * (share * (1 + side)).square() for side in (-WIDTH, WIDTH))
        slope = (ratio(below) - ratio(above)) / (2 * WIDTH * share)
        t, noise = first * share.square(), torch.randn(x_0.shape, generator=rng, device="cpu")
        alpha, sigma = (spread(level(t).to(x_0), x_0) for level in (schedule.alpha, schedule.sigma))
        for side in (sigma, -sigma):
            x_t = alpha * x_0 + side * noise
            theirs, ours = (_error(g.denoise(x_t, t.to(x_t)), x_0) for g in (parent, child))
            total += slope * (theirs - ours) / 4
    return total / pairs


def _error(seen: Tensor, x_0: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    return (seen.double().cpu() - x_0.double()).flatten(1).square().sum(1)
