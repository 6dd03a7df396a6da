"""Evolution of noise trajectories: offspring share the first steps of their parent's path, and pay for the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.errors import InputError
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.state import STATIC
from zmax.core.strategy import Need, Strategy
from zmax.generators.diffusion.path import path_of
from zmax.kit.walk import Walk, shown


@dataclass(frozen=True)
class Parents:
    """Finished trajectories, best first.

    Attributes:
        u: all their noises.
        x: all points of their paths, from noise to the last that is denoised.
        score: what their ends scored.
    """

    u: Float[Tensor, "n dim"]
    x: Float[Tensor, "n steps ..."]
    score: Float[Tensor, " n"]

    @classmethod
    def none(cls, space: Space) -> Parents:
        """Return no paths."""
        path = path_of(space)
        return cls(torch.zeros(0, space.dim), torch.zeros(0, path.steps, *path.shape), torch.zeros(0).double())

    @classmethod
    def ended(cls, walk: Walk, evaluation: Evaluation) -> Parents:
        """Return the paths that have come to an end that was scored."""
        assert walk.passed is not None, "recorded"
        ok = evaluation.ok
        return cls(walk.u[ok], walk.passed[ok], evaluation.score.double()[ok])

    def joined(self, other: Parents) -> Parents:
        """Return both."""
        return Parents(*(torch.cat([getattr(self, name), getattr(other, name)]) for name in vars(self)))

    def best(self, n: int) -> Parents:
        """Return the n best, best first; of equals the earlier."""
        best = self.score.argsort(descending=True, stable=True)[:n]
        return Parents(self.u[best], self.x[best], self.score[best])


@dataclass(frozen=True)
class TrajectoriesState:
    """A population, and its offspring on their way.

    Attributes:
        parents: the population; no rows at first.
        walk: the offspring, `u` holding their noises to come as well.
        rng: the stream of all draws.
    """

    parents: Parents
    walk: Walk
    rng: Rng
    space: Space = field(metadata=STATIC)


class Trajectories(Strategy[TrajectoriesState]):
    r"""Evolutionary search over noise trajectories: offspring keep a parent's path up to a random step.

    Of the noises :math:`\xi_T, \xi_0, \dots` of a parent those that lead to :math:`x_k` and beyond are mutated,

    .. math:: \xi' = \xi \cos a + \zeta \sin a,\quad \zeta \sim N(0, I), \qquad x_k' = x_k + c_{k-1} (\xi' - \xi),

    so that the prior stays as it is and the first k steps need no network: an offspring costs N - k evaluations and
    one score call. The population is the best of parents and offspring, hence elites live on. (The paper mutates on a
    schedule of steps from noise to data; a random step needs none and never ends.)

    Args:
        population: trajectories in the population.
        offspring: offspring in a generation.
        angle: a, in radians.
        tournament: rivals of which the best becomes a parent.

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0], [1.0]], [[[0.1]], [[0.1]]], [0.5, 0.5])
        >>> S = zmax.testing.quadratic_score([[1.0]], [2.5])
        >>> r = zmax.maximize(law.generator(steps=10), S, zmax.guide.Trajectories(), budget=200)
        >>> r.best.score > 2.5
        True
    """

    needs = frozenset({Need.PATH})
    use: ClassVar[str] = "best samples of a diffusion model where previews mislead"
    reference: ClassVar[str] = (
        "He et al., Scaling image and video generation via test-time evolutionary search, 2025, section 4, "
        "https://arxiv.org/abs/2505.17618"
    )

    def __init__(self, *, population: int = 8, offspring: int = 8, angle: float = 0.5, tournament: int = 2) -> None:
        whole("Trajectories", population=population, offspring=offspring, tournament=tournament)
        positive("Trajectories", angle=angle)
        if angle > math.pi / 2:
            raise InputError("Trajectories(angle=...)", expected="at most pi / 2", got=angle)
        self.population = population
        self.offspring = offspring
        self.angle = angle
        self.tournament = tournament

    def init(self, space: Space, rng: torch.Generator) -> TrajectoriesState:
        """Draw the first population's noises."""
        return self._born(Parents.none(space), space, rng)

    def ask(self, state: TrajectoriesState) -> Proposal:
        """Return where the offspring are; their ends alone are scored."""
        return state.walk.preview(state.space, scored=False)

    def tell(self, state: TrajectoriesState, evaluation: Evaluation) -> TrajectoriesState:
        """Take a step; at the end choose the next population and let it have offspring."""
        walk, space = state.walk, state.space
        if walk.at_end(space):
            survivors = Parents.ended(walk, evaluation).joined(state.parents).best(self.population)
            return self._born(survivors, space, state.rng.generator())
        walk = walk.onward(space, torch.nan_to_num(shown(evaluation)[0]), _noise(walk.u, walk.step + 1, space))
        return replace(state, walk=walk)

    def _born(self, parents: Parents, space: Space, rng: torch.Generator) -> TrajectoriesState:
        """Draw offspring of a population, or the first of all."""
        path = path_of(space)
        if len(parents.score) < 2:
            walk = Walk.begin(space, max(self.population, self.offspring), rng, recorded=True)
            first = path.columns(0)
            later = torch.randn(len(walk.u), space.dim - first.stop, generator=rng)
            walk = replace(walk, u=torch.cat([walk.u[:, first], later], 1))
            return TrajectoriesState(parents, walk, Rng.of(rng), space)
        rivals = torch.randint(len(parents.score), (self.offspring, self.tournament), generator=rng)
        chosen = rivals.min(1).values
        step = int(torch.randint(path.steps, (1,), generator=rng))
        old, u = parents.u[chosen], parents.u[chosen].clone()
        first = path.columns(step).start
        zeta = torch.randn(len(u), space.dim - first, generator=rng)
        u[:, first:] = u[:, first:] * math.cos(self.angle) + zeta * math.sin(self.angle)
        walk = Walk.again(space, old, parents.x[chosen], step, _noise(u, step, space))
        return TrajectoriesState(parents, replace(walk, u=u), Rng.of(rng), space)


def _noise(u: Float[Tensor, "n dim"], k: int, space: Space) -> Float[Tensor, "n ..."]:
    """Return the noises that lead to x_k."""
    path = path_of(space)
    return u[:, path.columns(k)].reshape(-1, *path.shape)
