"""Points on their way from noise to data, with every noise that brought them there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zmax.core.proposal import Evaluation, PathPoints, Proposal, Unscored, Value
from zmax.core.space import Space
from zmax.core.state import ROW
from zmax.generators.diffusion.path import Path, along, path_of

Grad = Literal["", "point", "sample"]


@dataclass(frozen=True)
class Walk:
    """Points at the same step of the path.

    Attributes:
        step: steps taken.
        x: x_t, in the network's scale.
        before: what the points before them have shown, from which order 2 goes on; 0 at the start.
        u: whitened coordinates: the initial noise and the noises so far, 0 (or a parent's) for those to come.
        passed: x and `before` of the paths so far, the present ones included; None where nobody will come back to them.
    """

    step: int
    x: Float[Tensor, "n ..."] = field(metadata=ROW)
    before: Float[Tensor, "n ..."] = field(metadata=ROW)
    u: Float[Tensor, "n dim"] = field(metadata=ROW)
    passed: Float[Tensor, "n passed 2 ..."] | None = field(default=None, metadata=ROW)

    @classmethod
    def begin(cls, space: Space, n: int, generator: torch.Generator, *, recorded: bool = False) -> Walk:
        """Draw the initial noise of n points; where there is a start, set out from the middle of its paths."""
        path, start = path_of(space), space.start
        if start is not None and start.passed is not None:
            rows, step = torch.arange(n) % len(start.u), middle(path, start.strength)
            noise = torch.randn(n, *path.shape, generator=generator)
            walk = cls.again(space, start.u[rows], start.passed[rows], step, noise)
            return walk if recorded else replace(walk, passed=None)
        noise = along(space).initial(torch.randn(n, *path.shape, generator=generator))
        u = torch.zeros(n, space.dim)
        u[:, path.columns(0)] = noise.flatten(1)
        x = path.begin(noise)
        before = torch.zeros_like(x)
        return cls(0, x, before, u, _pair(x, before) if recorded else None)

    @classmethod
    def again(
        cls,
        space: Space,
        u: Float[Tensor, "n dim"],
        passed: Float[Tensor, "n steps 2 ..."],
        step: int,
        noise: Float[Tensor, "n ..."],
    ) -> Walk:
        r"""Set out again from the middle of known paths, where another noise leads to :math:`x_k`.

        .. math:: x_k' = x_k + c_{k-1} (\xi' - \xi)
        """
        path, u = path_of(space), u.clone()
        noise = along(space).fresh(step - 1, u, noise) if step else along(space).initial(noise)
        known = u[:, path.columns(step)].clone().reshape(noise.shape)
        u[:, path.columns(step)] = noise.flatten(1)
        shift = (noise - known).to(passed)
        x = path.begin(noise).to(passed) if step == 0 else passed[:, step, 0] + path.factors(step - 1)[2] * shift
        before = passed[:, step, 1]
        return cls(step, x, before, u, torch.cat([passed[:, :step], _pair(x, before)], 1))

    def times(self, space: Space) -> Float[Tensor, " n"]:
        """Return the time of each point."""
        return path_of(space).times[self.step].expand(len(self.x))

    def preview(self, space: Space, *, scored: bool = True, grad: Grad = "", ahead: int = 0) -> Proposal:
        """Ask what the points show, and how it scores, denoised `ahead` steps further.

        At the end of the path that is their sample, which is always scored.
        """
        t = self.times(space)
        if self.at_end(space):
            return Proposal(PathPoints(self.x, t, self.u), Value(grad=grad, samples=True))
        if not scored:
            return Proposal(PathPoints(self.x, t), Unscored())
        return Proposal(PathPoints(self.x, t, ahead=ahead), Value(grad=grad, samples=True))

    def at_end(self, space: Space) -> bool:
        """Say whether what the points show now is their sample."""
        return self.step == path_of(space).steps - 1

    def onward(self, space: Space, x_0: Float[Tensor, "n ..."], noise: Float[Tensor, "n ..."]) -> Walk:
        """Take a step with that noise."""
        path, u = path_of(space), self.u.clone()
        noise = along(space).fresh(self.step, u, noise)
        u[:, path.columns(self.step + 1)] = noise.flatten(1)
        x = path.step(self.step, self.x.to(x_0), x_0, noise.to(x_0), self.before.to(x_0))
        return Walk(
            self.step + 1, x, x_0, u, None if self.passed is None else torch.cat([self.passed, _pair(x, x_0)], 1)
        )

    def behind(self, space: Space) -> Float[Tensor, "n ..."]:
        """Return where the points would be without the noise that led to them."""
        path = path_of(space)
        noise = self.u[:, path.columns(self.step)].reshape(self.x.shape).to(self.x)
        return self.x - path.factors(self.step - 1)[2] * noise if self.step else torch.zeros_like(self.x)

    def calm(self, space: Space, x_0: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Return where a step without its noise leads."""
        return path_of(space).step(self.step, self.x.to(x_0), x_0, None, self.before.to(x_0))


def middle(path: Path, strength: float) -> int:
    """Return the step from which that share of a path's steps is left, one at least.

    Example:
        >>> from zmax.generators.diffusion.schedules import RectifiedFlow
        >>> path = Path(RectifiedFlow(), steps=50, eta=1.0, shape=(3,))
        >>> [middle(path, strength) for strength in (0.01, 0.6, 1.0)]
        [49, 20, 0]
    """
    return path.steps - max(1, min(path.steps, int(strength * path.steps + 1e-9)))


def _pair(x: Float[Tensor, "n ..."], before: Float[Tensor, "n ..."]) -> Float[Tensor, "n 1 2 ..."]:
    return torch.stack([x, before.to(x)], 1)[:, None]


def shown(evaluation: Evaluation) -> tuple[Float[Tensor, "n ..."], Bool[Tensor, " n"]]:
    """Return E[x_0 | x_t] of what was previewed, and which rows of it are finite."""
    x_0 = evaluation.samples
    assert isinstance(x_0, Tensor), "wanted"
    return x_0, torch.isfinite(x_0.flatten(1)).all(1)
