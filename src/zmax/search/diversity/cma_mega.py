"""CMA-MEGA: an archive filled along the gradients of the score and of what makes samples different."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.errors import CapabilityError, InputError
from zmax.core.proposal import Evaluation, Latents, Proposal, Pullback, Value
from zmax.core.rng import Rng
from zmax.core.samples import describe
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Gives, Need, Population, Strategy
from zmax.kit.cma_law import Law, constants, decomposed, fresh, learned, parents, spent
from zmax.kit.ranks import ranking
from zmax.search.diversity.archive import Archive, Entrance
from zmax.search.diversity.descriptors import Function
from zmax.search.diversity.grid import SCOUTS, Grid

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
SCOUT, CENTRE, PULL, BRANCH = range(4)  # what the state's points are for


@dataclass(frozen=True)
class MEGAState:
    """The archive, the centre with its slopes and moments, the law of coefficients, and the points of this round.

    Attributes:
        archive: the elites; without cells until the first round is told.
        names: of the descriptors.
        phase: what the points are for: prior draws, the centre, its descriptors' slopes, or branches.
        centre: where the branches start.
        first: moving mean of its ascent directions.
        second: moving mean of their squares.
        age: steps since its last restart.
        law: of the coefficients, first the score's, then one for each descriptor.
        slopes: gradients in u at the centre, each of norm sqrt(d).
        cotangent: gradients of the descriptors by the centre's sample.
        y: steps drawn from N(0, C).
        squares: Mahalanobis norm of each, squared.
        u: the points.
        rng: the stream that draws come from.
    """

    archive: Archive
    names: tuple[str, ...]
    phase: int
    centre: Float[Tensor, " dim"]
    first: Float[Tensor, " dim"]
    second: Float[Tensor, " dim"]
    age: int
    law: Law
    slopes: Float[Tensor, "slopes dim"]
    cotangent: Float[Tensor, "k ..."]
    y: Float[Tensor, "drawn coefficients"]
    squares: Float[Tensor, " drawn"]
    u: Float[Tensor, "n dim"]
    rng: Rng
    space: Space = field(metadata=STATIC)


class CMAMEGA(Strategy[MEGAState]):
    r"""Covariance matrix adaptation MAP-Elites via a gradient arborescence, with Adam.

    At a centre u the gradients of the score and of each descriptor :math:`m_j`, taken through G by backward passes and
    scaled to one length, span the directions in which samples become better or different. Branches

    .. math:: u_i = R\Big(u + c_{i0} \nabla S(u) + \sum_j c_{ij} \nabla m_j(u)\Big), \qquad c_i \sim N(\mu, \sigma^2 C)

    enter an archive as in :class:`CMAMAE`, :math:`\alpha = 1`. They are ranked by whether they fill a new cell, then
    by what they improve; CMA-ES adapts the k + 1 coefficients, and the centre follows the better half by a step of
    Adam. When no branch enters, the search starts again from an elite. The first 64 points are prior draws. R moves
    points to the prior's typical shell. A run's population holds the elites.

    Args:
        descriptor: scores by name, "brightness,colourfulness"; Python code, "file.py:attr" or "pkg.mod:attr"; or a
            callable: samples to (n, k), or to a dict from name to (n,). It must be differentiable.
        ranges: bounds of each descriptor, "0:1,-2:2"; None takes mean -+ 3 standard deviations of prior draws.
        cells: of each descriptor's range, 20 or "20x10".
        floor: score that a sample must exceed to be kept; None takes one below all prior draws.
        step: first sigma of the coefficients, in units of the shell's radius.
        rate: Adam's step, in units of the prior's standard deviation.
        population: branches per round.
        retract: score points of plausibility at least 0.5 only; without it norms drift off the prior.

    Raises:
        InputError: an argument has another form, or the descriptor does not suit the samples.
        CapabilityError: the descriptor cannot be differentiated.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = CMAMEGA()
        >>> method.ask(method.init(Space.of((3, 64, 64)), stream(0))).u.shape
        torch.Size([64, 12288])
    """

    needs = frozenset({Need.GRADIENT, Need.JACOBIAN, Need.DESCRIPTOR})
    gives = frozenset({Gives.RETRACTION})
    begins = Starts.ARCHIVE
    use: ClassVar[str] = "many different good samples, differentiable score"
    reference: ClassVar[str] = (
        "Fontaine and Nikolaidis, Differentiable quality diversity, NeurIPS 2021, algorithm 1, "
        "https://arxiv.org/abs/2106.03894"
    )

    def __init__(
        self,
        *,
        descriptor: Function | str = "brightness,colourfulness",
        ranges: str | None = None,
        cells: int | str = 20,
        floor: float | None = None,
        step: float = 0.3,
        rate: float = 0.1,
        population: int = 32,
        retract: bool = True,
    ) -> None:
        grid = Grid.of("CMAMEGA", descriptor, ranges, cells, floor)
        if not isinstance(grid, Grid):
            remedy = "cma-mae takes one, or give a descriptor"
            raise InputError("CMAMEGA(descriptor=...)", expected="numbers of a sample", got="a distance", remedy=remedy)
        self.grid = grid
        positive("CMAMEGA", step=step, rate=rate)
        whole("CMAMEGA", least=5, population=population)
        self.descriptor, self.ranges, self.cells, self.floor = self.grid.descriptor.text, ranges, cells, floor
        self.step, self.rate, self.population, self.retract = step, rate, population, retract

    def init(self, space: Space, rng: torch.Generator) -> MEGAState:
        """Draw the first round from the prior."""
        zero = torch.zeros(space.dim, dtype=torch.float64)
        none = zero.new_empty(0, space.dim)
        blank = MEGAState(
            archive=Archive.unopened(),
            names=(),
            phase=SCOUT,
            centre=zero,
            first=zero,
            second=zero,
            age=0,
            law=fresh(zero[:1], self.step),
            slopes=none,
            cotangent=none,
            y=zero.new_empty(0, 0),
            squares=none[:, 0],
            u=none,
            rng=Rng.of(rng),
            space=space,
        )
        return self._scout(blank)

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> MEGAState:
        """Put the points of a start in the place of some of the first draws."""
        state, u = self.init(space, rng), start.u[: SCOUTS // 2]
        return replace(state, u=torch.cat([u, state.u[len(u) :]]))

    def ask(self, state: MEGAState) -> Proposal:
        """Return the round's points, or the pullback of the descriptors' gradients at the centre."""
        want = Pullback(state.cotangent) if state.phase == PULL else Value(grad="point", samples=True)
        return Proposal(Latents(state.u), want)

    def tell(self, state: MEGAState, evaluation: Evaluation) -> MEGAState:
        """Take the next of the steps: measure the centre, pull the slopes back, branch, follow the better half."""
        if state.phase == PULL:
            return self._branch(state, evaluation)
        archive, names, entrance = self.grid.entered(state.archive, state.u, evaluation)
        told = replace(state, archive=archive, names=state.names or names)
        if state.phase == CENTRE:
            return self._measured(told, evaluation, entrance)
        return self._followed(told, entrance) if state.phase == BRANCH else self._start(told, best=True)

    def draws(self, state: MEGAState) -> Population | None:
        """Return the elites, best first."""
        return state.archive.elites() if state.archive.opened else None

    def _scout(self, state: MEGAState) -> MEGAState:
        u, rng = state.rng.normal(SCOUTS, len(state.centre))
        return replace(state, phase=SCOUT, u=self._retracted(state, u), rng=rng)

    def _start(self, state: MEGAState, *, best: bool = False) -> MEGAState:
        """Centre on an elite, the best or one drawn at random, and forget what was learned elsewhere."""
        if not bool(state.archive.filled.any()):
            return self._scout(state)
        elite, rng = (state.archive.elites().u[0], state.rng) if best else state.archive.pick(state.rng)
        zero = torch.zeros_like(state.centre)
        law = fresh(zero.new_zeros(1 + len(state.names)), self.step)
        return self._centred(replace(state, first=zero, second=zero, age=0, law=law, rng=rng), elite)

    def _centred(self, state: MEGAState, centre: Tensor) -> MEGAState:
        u = self._retracted(state, centre[None])
        return replace(state, phase=CENTRE, centre=u[0].double(), u=u.float())

    def _measured(self, state: MEGAState, evaluation: Evaluation, entrance: Entrance) -> MEGAState:
        """Keep the score's slope at the centre, and prepare the descriptors' to be pulled back."""
        if evaluation.grad is None:
            raise CapabilityError("CMAMEGA was told scores without gradients", expected="evaluation.grad")
        if not bool(torch.isfinite(entrance.value[0])):
            return self._start(state)
        if not isinstance(evaluation.samples, Tensor):
            got = describe(evaluation.samples)
            raise CapabilityError("CMAMEGA differentiates samples", expected="a tensor of samples", got=got)
        cotangent = self.grid.descriptor.cotangents(evaluation.samples[:1])
        u = state.u[:1].repeat(len(cotangent), 1)
        return replace(state, phase=PULL, slopes=evaluation.grad.double(), cotangent=cotangent, u=u)

    def _branch(self, state: MEGAState, evaluation: Evaluation) -> MEGAState:
        """Draw coefficients along the slopes, all of one length; slopes that failed are zero."""
        if evaluation.grad is None:
            raise CapabilityError("CMAMEGA was told no product", expected="evaluation.grad")
        slopes = torch.cat([state.slopes[:1], evaluation.grad.double()])
        slopes = slopes / slopes.norm(dim=1, keepdim=True).clamp_min(EPSILON) * len(state.centre) ** 0.5
        z, rng = state.rng.normal(self.population, len(slopes), dtype=torch.float64)
        y = (z * state.law.axes) @ state.law.basis.T
        u = state.centre + (state.law.mean + state.law.sigma * y) @ slopes
        u = self._retracted(state, u).float()
        return replace(state, phase=BRANCH, slopes=slopes, y=y, squares=z.square().sum(1), u=u, rng=rng)

    def _followed(self, state: MEGAState, entrance: Entrance) -> MEGAState:
        """Learn the coefficients of the branches that improve the archive most, and move the centre their way."""
        ok = torch.isfinite(entrance.value)
        if not bool(entrance.status.any()):
            return self._start(state)
        order = ranking(entrance.value, ok)
        order = order[torch.argsort(entrance.status[order], descending=True, stable=True)]
        k = constants(len(state.law.mean), len(ok))
        w, y, before = parents(k, entrance.value[order], ok[order]), state.y[order], state.law
        law = decomposed(learned(before, y, state.squares[order], w, k), k.gap)
        if spent(law, before.mean):
            return self._start(state)
        coefficients = before.mean + before.sigma * (w.clamp_min(0) @ y)
        return self._ascended(replace(state, law=law), coefficients @ state.slopes)

    def _ascended(self, state: MEGAState, g: Tensor) -> MEGAState:
        """Adam's step along g; Kingma and Ba 2015, algorithm 1."""
        age = state.age + 1
        first = BETA1 * state.first + (1 - BETA1) * g
        second = BETA2 * state.second + (1 - BETA2) * g.square()
        step = first / (1 - BETA1**age) / ((second / (1 - BETA2**age)).sqrt() + EPSILON)
        return self._centred(replace(state, first=first, second=second, age=age), state.centre + self.rate * step)

    def _retracted(self, state: MEGAState, u: Tensor) -> Tensor:
        return state.space.retract(u) if self.retract else u
