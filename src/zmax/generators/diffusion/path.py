"""The path from noise to data as methods see it: levels, steps, and the whitened coordinates of every noise on it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import CapabilityError, InputError
from zmax.core.generator import Schedule
from zmax.core.priors import EDGE, radial_retract, shell
from zmax.core.samples import spread
from zmax.core.space import Block, LatentValue, Space
from zmax.generators.diffusion.multistep import DPMSolver, extrapolations
from zmax.generators.diffusion.samplers import DDIM, Denoise, begin
from zmax.generators.diffusion.steps import ddim_step

NOISE, INJECTED = "noise", "injected"
"""Names of the blocks of a path's noises."""


@dataclass(frozen=True)
class Path:
    r"""Steps with fresh noise, :math:`x_s = a_i x_t + b_i D_i + c_i \xi_i`, from pure noise to data.

    .. math:: D_i = \hat x_0 + w_i\, (\hat x_0 - \hat x_0')

    with :math:`\hat x_0 = E[x_0 | x_t]` and a prime for the step before. Of order 2 these are the steps of
    SDE-DPM-Solver++(2M), :class:`~zmax.generators.diffusion.multistep.DPMSolver`, at order 1 (w = 0) ancestral ones or
    DDIM's. What leads on from a point is thus the pair of x_t and what the point before it has shown.

    A generator that samples so is a function of its noises :math:`(\xi_T, \xi_0, \dots, \xi_{N-2}) \sim N(0, I)`, and
    whatever steers the path (guidance, resampling, search) only chooses other noises: D is the denoiser's, so a step
    that is to end at x' takes :math:`\xi = (x' - a x_t - b D) / c`. Every steered sample is thus a point of the
    generator's own latent space, and how plausible its noises are tells how far it was pushed.

    Attributes:
        schedule: noise levels.
        steps: number N of steps; the last one leads to data and takes no noise.
        eta: share of fresh noise, in [0, 1]; 0 is a path that only its initial noise decides, and no method can steer.
        shape: shape of one sample in the network's scale.
        order: 2, or 1. On mixtures with the exact denoiser order 2 is nearer to the law on every schedule, EDM from
            sigma 80 included, at 5, 10, 20 and 50 steps (`benchmarks/path_laws.py`).
        sampler: takes all steps at once.

    Raises:
        InputError: there is no step, or eta or the order is out of range.

    Example:
        >>> from zmax.generators.diffusion.schedules import RectifiedFlow
        >>> path = Path(RectifiedFlow(), steps=4, eta=1.0, shape=(3,))
        >>> PathSpace.along(path).dim, path.times.tolist()
        (12, [1.0, 0.75, 0.5, 0.25, 0.0])
    """

    schedule: Schedule
    steps: int
    eta: float
    shape: tuple[int, ...]
    order: int = 2
    sampler: DDIM | DPMSolver = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise InputError("order of a path", expected="1 or 2", got=self.order)
        object.__setattr__(self, "sampler", (DDIM if self.order == 1 else DPMSolver)(self.steps, self.eta))

    @cached_property
    def times(self) -> Float[Tensor, " steps_plus_one"]:
        """Times from noise to data."""
        return self.schedule.times(self.steps)

    @cached_property
    def _factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """The a, b and c of every step, found by stepping from unit vectors."""
        t, s = self.times[:-1], self.times[1:]
        zero, one = torch.zeros(self.steps, 1, dtype=torch.float64), torch.ones(self.steps, 1, dtype=torch.float64)

        def end(x_t: Tensor, x_0: Tensor, noise: Tensor) -> Tensor:
            return ddim_step(x_t, x_0, self.schedule, t, s, eta=self.eta, noise=noise)[:, 0]

        return end(one, zero, zero), end(zero, one, zero), end(zero, zero, one)

    @cached_property
    def weights(self) -> list[float]:
        """How far each step extrapolates from the preview before to the present one, w."""
        return extrapolations(self.schedule, self.times, fresh=self.eta > 0) if self.order == 2 else [0.0] * self.steps

    def begin(self, noise: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Return x_T for standard normal noise."""
        return begin(self.schedule, noise, self.steps)

    def levels(self, step: int) -> tuple[float, float]:
        """Return (alpha, sigma) of the point that a step sets out from."""
        t = self.times[step : step + 1]
        return float(self.schedule.alpha(t)), float(self.schedule.sigma(t))

    def columns(self, k: int) -> slice:
        """Return where the noise that leads to x_k lies in whitened coordinates."""
        size = math.prod(self.shape)
        return slice(k * size, (k + 1) * size)

    def factors(self, step: int) -> tuple[float, float, float]:
        """Return (a, b, c) of a step: of x_t, of D, and of the fresh noise."""
        a, b, c = self._factors
        return float(a[step]), float(b[step]), float(c[step])

    def step(
        self,
        step: int,
        x_t: Float[Tensor, "n ..."],
        x_0: Float[Tensor, "n ..."],
        noise: Float[Tensor, "n ..."] | None,
        before: Float[Tensor, "n ..."] | None = None,
    ) -> Float[Tensor, "n ..."]:
        """Take a step.

        Args:
            step: its number, from 0.
            x_t: the points.
            x_0: what they show.
            noise: fresh noise; the last step is given none.
            before: what the points before them have shown; the first step is given none.
        """
        a, b, c = self.factors(step)
        if self.weights[step]:
            assert before is not None, "a step of order 2 goes on from two previews"
            x_0 = x_0 + self.weights[step] * (x_0 - before)
        ahead = a * x_t + b * x_0
        return ahead if noise is None else ahead + c * noise

    def follow(self, denoise: Denoise, z: LatentValue) -> Float[Tensor, "n ..."]:
        """Go all the way with that denoiser, and return where the path ends.

        Args:
            denoise: (x_t, t) -> E[x_0 | x_t].
            z: latents of the path's space: the initial noise, or `{"noise": ..., "injected": ...}`.
        """
        parts = {NOISE: z} if isinstance(z, Tensor) else z
        return self.sampler(lambda x, t: denoise(x, t).to(x), self.schedule, parts[NOISE], parts.get(INJECTED))


@dataclass(frozen=True)
class PathSpace(Space):
    """The latent space of a generator that denoises along a path: the initial noise, then those injected on the way.

    Made by :meth:`along`. Block "noise" is (n, *shape); block "injected" (n, steps - 1, *shape) is there where eta > 0
    and there are two steps. :meth:`Path.follow` decodes such latents up to the end of the path.

    Attributes:
        path: the path.
        held: whether a guard holds the fresh noises back.
    """

    path: Path = field(kw_only=True)
    held: bool = field(default=False, kw_only=True)

    @classmethod
    def along(cls, path: Path) -> PathSpace:
        """Return the space of all noises of a path.

        Example:
            >>> from zmax.generators.diffusion.schedules import RectifiedFlow
            >>> [block.name for block in PathSpace.along(Path(RectifiedFlow(), 4, 1.0, (3,))).blocks]
            ['noise', 'injected']
        """
        blocks = [Block(NOISE, path.shape, noise=True)]
        if path.eta > 0 and path.steps > 1:
            blocks.append(Block(INJECTED, (path.steps - 1, *path.shape), noise=True, steps=True))
        return cls(tuple(blocks), path=path)

    def initial(self, noise: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Return the noise that a path begins with; held, of a norm that is plausible."""
        return radial_retract(noise.flatten(1), EDGE).reshape(noise.shape) if self.held else noise

    def fresh(self, step: int, u: Float[Tensor, "n dim"], noise: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Return the fresh noise of a step; held, it is cut where all of them so far would be too large together.

        Guidance moves points by their noises, so its steps are no longer than those of chance (as in Yang et al. 2024,
        *Guidance with spherical Gaussian constraint*, https://arxiv.org/abs/2402.03201, but for all steps as one).

        Args:
            step: number of the step that takes it.
            u: whitened coordinates so far.
            noise: the noise that the method chose.
        """
        if not self.held:
            return noise
        first, here = self.path.columns(1).start, self.path.columns(step + 1)
        spent = u[:, first : here.start].double().square().sum(1)
        left = shell(here.stop - first, EDGE)[1] ** 2 - spent
        length = torch.linalg.vector_norm(noise.flatten(1).double(), dim=1)
        share = (left.clamp_min(0).sqrt() / length.clamp_min(1e-30)).clamp(max=1.0)
        return noise * spread(share.to(noise), noise)


def has_path(space: Space) -> bool:
    """Say whether a latent space holds the noises of a path that takes fresh ones."""
    return isinstance(space, PathSpace) and space.path.eta > 0


def path_of(space: Space) -> Path:
    """Return the path of a latent space that has one.

    Raises:
        CapabilityError: it has none, or takes no fresh noise on the way.
    """
    if not has_path(space):
        raise CapabilityError(
            "this method steers the path from noise to data",
            expected="a diffusion or flow model whose sampler injects noise",
            got=f"a latent space of the blocks {', '.join(block.name for block in space.blocks)}",
            remedy="give it a DiffusionGenerator (`generator.stochastic()` injects noise)",
        )
    return along(space).path


def along(space: Space) -> PathSpace:
    """Return a latent space that was found to have a path, as one."""
    assert isinstance(space, PathSpace), "asked before"
    return space
