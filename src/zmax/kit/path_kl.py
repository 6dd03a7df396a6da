"""Laws of whole paths and of their steps: what tuners of diffusion and flow models share."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.generator import DiffusionGenerator
from zmax.generators.diffusion.path import Path, PathSpace


def path_kl(child: DiffusionGenerator, parent: DiffusionGenerator, n: int, rng: torch.Generator) -> tuple[float, float]:
    r"""Return the KL between the laws of the two models' whole paths, which bounds that of their samples from above.

    .. math:: KL = E \sum_i \frac{b_i^2}{2 c_i^2} \|D^{child}(x_i) - D^{parent}(x_i)\|^2

    along paths of the child, each step of which is :math:`N(a_i x_i + b_i D, c_i^2 I)`. The last step, which takes no
    noise, is left out.

    Args:
        child, parent: generators of one path.
        n: number of paths.
        rng: draws them.

    Returns:
        The mean over the paths, in nats, and its standard error.
    """
    space = child.space
    assert isinstance(space, PathSpace), "made by stochastic()"
    path = space.path
    u = space.sample(n, rng)
    x = path.begin(u[:, path.columns(0)].reshape(n, *path.shape))
    total, before, lever = torch.zeros(n, dtype=torch.float64), None, leverage(path)
    for i in range(path.steps - 1):
        t = path.times[i].expand(n)
        ours, theirs = (g.denoise(x, t.to(x)).to(x) for g in (child, parent))
        total += shift_kl(lever[i : i + 1], (1 + path.weights[i]) * (ours - theirs).double().cpu())
        x = path.step(i, x, ours, u[:, path.columns(i + 1)].reshape(n, *path.shape), before)
        before = ours
    return float(total.mean()), float(total.std() / n**0.5)


def leverage(path: Path) -> Float[Tensor, " noisy"]:
    """Return b / c of every step with noise: how far the fresh noise moves for a unit of what the point shows."""
    factors = torch.tensor([path.factors(i) for i in range(path.steps - 1)], dtype=torch.float64).reshape(-1, 3)
    return factors[:, 1] / factors[:, 2]


def shift_kl(leverage: Float[Tensor, " #n"], apart: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Return the KL of steps of two models whose previews are so far apart, in nats."""
    return leverage.square() / 2 * apart.flatten(1).square().sum(1)
