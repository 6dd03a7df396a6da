"""What a point on the path from noise to data shows: E[x_0 | x_t], and the samples that S is given for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import CapabilityError
from zmax.core.generator import DiffusionGenerator, Generator
from zmax.core.samples import Samples
from zmax.core.space import Space
from zmax.core.strategy import Preview
from zmax.generators.diffusion.steps import ddim_step


@dataclass(frozen=True)
class Shown:
    """Previews of some rows.

    Attributes:
        x_0: E[x_0 | x_t] in the network's scale, detached.
        samples: what S is given: m blurred ones a row after another, or one a row.
        wrt: what to differentiate by, None where no gradient is asked for.
    """

    x_0: Float[Tensor, "n ..."]
    samples: Samples
    wrt: Tensor | None


def part(proposal: Preview, rows: slice) -> Preview:
    """Return some rows of a proposal."""
    blur = None if proposal.blur is None else proposal.blur[rows]
    return replace(proposal, x=proposal.x[rows], t=proposal.t[rows], u=proposal.u[rows], blur=blur)


def show(generator: Generator, proposal: Preview, *, grad: bool) -> Shown:
    """Denoise, and finish what S is to see.

    Raises:
        CapabilityError: the generator is no diffusion model.
    """
    if not isinstance(generator, DiffusionGenerator):
        raise CapabilityError(f"{generator.name!r} has no path to preview", expected="a diffusion or flow model")
    by_path, by_end = grad and proposal.grad == "x_t", grad and proposal.grad == "x_0"
    x = proposal.x.detach().clone().requires_grad_(by_path)
    with torch.set_grad_enabled(by_path):
        x_0 = generator.denoise(x, proposal.t.to(x))
        seen = _sharpened(generator, x, x_0, proposal)
    if by_end:
        seen = seen.detach().requires_grad_()
    with torch.set_grad_enabled(by_path or by_end):
        blurred = seen if proposal.blur is None else (seen[:, None] + proposal.blur.to(seen)).flatten(0, 1)
        samples = generator.finish(blurred)
    return Shown(x_0.detach(), samples, x if by_path else seen if by_end else None)


def times(proposal: Preview) -> Float[Tensor, " nm"]:
    """Return the time of each scored sample: 0 at the end of the path, nearer to it where it was denoised on."""
    t = torch.zeros_like(proposal.t) if proposal.final else proposal.t / (proposal.ahead + 1)
    return t if proposal.blur is None else t.repeat_interleave(proposal.blur.shape[1])


def pooled(values: Float[Tensor, " nm"], proposal: Preview) -> Float[Tensor, " n"]:
    r"""Return one value a row: :math:`T \ln \frac1m \sum_j e^{S_j / T}` over its blurred samples."""
    if proposal.blur is None:
        return values
    each = values.reshape(len(proposal.x), -1)
    pool: Tensor = torch.logsumexp(each / proposal.temperature, 1) - torch.tensor(float(each.shape[1])).log()
    return proposal.temperature * pool


def plausibility(space: Space, u: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """Return how typical each point is; NaN for what stands for a preview, which is no point of the space."""
    return space.plausibility(u) if u.shape[1] == space.dim else torch.full((len(u),), math.nan)


def _sharpened(generator: DiffusionGenerator, x: Tensor, x_0: Tensor, proposal: Preview) -> Tensor:
    """Walk on from x_t without fresh noise, in equal steps of time, and return where E[x_0 | x] then lies."""
    t = proposal.t.to(x_0.device)
    for step in range(proposal.ahead):
        s = t * (proposal.ahead - step) / (proposal.ahead - step + 1)
        x = ddim_step(x.to(x_0), x_0, generator.schedule, t, s)
        x_0, t = generator.denoise(x, s.to(x.dtype)), s
    return x_0
