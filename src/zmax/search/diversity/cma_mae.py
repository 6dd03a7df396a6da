"""CMA-MAE: evolution that keeps the best sample of every kind, by an archive whose thresholds rise slowly."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.proposal import Evaluation, Latents, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Gives, Need, Population, Strategy
from zmax.kit.cma_law import Law, constants, decomposed, fresh, learned, parents, spent
from zmax.kit.ranks import ranking
from zmax.search.diversity.archive import Archive
from zmax.search.diversity.descriptors import Function
from zmax.search.diversity.grid import SCOUTS, Grid
from zmax.search.diversity.scattered import Apart, Scattered


@dataclass(frozen=True)
class MAEState:
    """The archive, the search law, and its draws.

    Attributes:
        archive: elites and thresholds; without cells until the first round is told.
        names: of the descriptors.
        law: the search law.
        y: steps drawn from N(0, C), before retraction.
        squares: Mahalanobis norm of each, squared.
        u: the points they stand for.
        rng: the stream that draws come from.
    """

    archive: Archive | Scattered
    names: tuple[str, ...]
    law: Law
    y: Float[Tensor, "n dim"]
    squares: Float[Tensor, " n"]
    u: Float[Tensor, "n dim"]
    rng: Rng
    space: Space = field(metadata=STATIC)


class CMAMAE(Strategy[MAEState]):
    r"""Covariance matrix adaptation MAP-annealing: an archive of the best sample of every kind.

    Descriptors :math:`m(x) \in R^k` say what kind of sample x is. A grid over them holds in each cell e a threshold
    :math:`t_e` and the best sample ever accepted there. Draws :math:`u_i = R(\mu + \sigma y_i),\ y_i \sim N(0, C)`,
    are ranked by what they improve on,

    .. math:: \Delta_i = S(x_i) - t_{e(x_i)}, \qquad t_e \leftarrow (1 - \alpha)\, t_e + \alpha\, S(x_i)
              \ \text{ where } \Delta_i > 0,

    and CMA-ES moves towards the better half. Thresholds rise slowly, so the search leaves a kind only once it is
    exhausted: :math:`\alpha = 0` maximises S alone, :math:`\alpha = 1` runs after every new cell. The first 64 points
    are prior draws. When nothing improves, the search starts again from an elite. R moves points to the prior's typical
    shell. A run's population holds the elites.

    Args:
        descriptor: scores by name, "brightness,colourfulness"; Python code, "file.py:attr" or "pkg.mod:attr"; or a
            callable: samples to (n, k), or to a dict from name to (n,). Where only a distance is known:
            `zmax.search.apart_by(distance)`, "apart(file.py:features)" or "apart(latents)"; see :class:`Scattered`.
        ranges: bounds of each descriptor, "0:1,-2:2"; None takes mean -+ 3 standard deviations of prior draws.
        cells: of each descriptor's range, 20 or "20x10".
        floor: score that a sample must exceed to be kept; None takes one below all prior draws.
        learning_rate: :math:`\alpha` in (0, 1]. The paper's 0.01 is for millions of calls; at 500 to 5000, 0.3 to 1
            fill more cells with better samples (decision 008).
        step: first sigma, in units of the prior's standard deviation.
        population: points per round.
        retract: score points of plausibility at least 0.5 only; without it norms drift off the prior.

    Raises:
        InputError: an argument has another form, or the descriptor does not suit the samples.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = CMAMAE()
        >>> method.ask(method.init(Space.of((128,)), stream(0))).u.shape
        torch.Size([64, 128])
    """

    needs = frozenset({Need.FEW, Need.DESCRIPTOR})
    gives = frozenset({Gives.RETRACTION})
    begins = Starts.ARCHIVE
    use: ClassVar[str] = "many different good samples, black-box score"
    reference: ClassVar[str] = (
        "Fontaine and Nikolaidis, Covariance matrix adaptation MAP-annealing, GECCO 2023, algorithm 1, "
        "https://arxiv.org/abs/2205.10752"
    )

    def __init__(
        self,
        *,
        descriptor: Function | str | Apart = "brightness,colourfulness",
        ranges: str | None = None,
        cells: int | str = 20,
        floor: float | None = None,
        learning_rate: float = 0.5,
        step: float = 0.7,
        population: int = 32,
        retract: bool = True,
    ) -> None:
        self.grid = Grid.of("CMAMAE", descriptor, ranges, cells, floor, learning_rate)
        positive("CMAMAE", step=step)
        whole("CMAMAE", least=5, population=population)
        self.descriptor, self.ranges, self.cells = self.grid.descriptor.text, ranges, cells
        self.floor, self.learning_rate = floor, learning_rate
        self.step, self.population, self.retract = step, population, retract

    def init(self, space: Space, rng: torch.Generator) -> MAEState:
        """Draw the first round from the prior."""
        zero = torch.zeros(space.dim, dtype=torch.float64)
        none = zero.new_empty(0, space.dim)
        return self._draw(
            MAEState(self.grid.unopened(), (), fresh(zero, 1.0), none, none[:, 0], none, Rng.of(rng), space), SCOUTS
        )

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> MAEState:
        """Put the points of a start in the place of some of the first draws."""
        state, u = self.init(space, rng), start.u[: SCOUTS // 2]
        y = torch.cat([u.double(), state.y[len(u) :]])
        return replace(state, y=y, squares=y.square().sum(1), u=torch.cat([u, state.u[len(u) :]]))

    def ask(self, state: MAEState) -> Proposal:
        """Return the round's points."""
        return Proposal(Latents(state.u), Value(samples=True))

    def tell(self, state: MAEState, evaluation: Evaluation) -> MAEState:
        """Offer the points to the archive, and move the law towards those that improve it most."""
        n = len(state.u)
        grid: Any = self.grid  # its archive is of its own kind
        archive, names, entrance = grid.entered(state.archive, state.u, evaluation)
        ok = torch.isfinite(entrance.value)
        if not bool(ok.any()):
            return self._draw(state, n)
        order, before = ranking(entrance.value, ok), state.law.mean
        k = constants(len(state.law.mean), n)
        w, y = parents(k, entrance.value[order], ok[order]), state.y[order]
        if not state.names:
            law = fresh(w.clamp_min(0) @ y, self.step)
        else:
            law = decomposed(learned(state.law, y, state.squares[order], w, k), k.gap)
        state = replace(state, archive=archive, names=names, law=law)
        if spent(law, before) or not bool(entrance.status.any()):
            state = self._restarted(state)
        return self._draw(state, self.population)

    def draws(self, state: MAEState) -> Population | None:
        """Return the elites, best first."""
        return state.archive.elites() if state.names else None

    def _restarted(self, state: MAEState) -> MAEState:
        """Start again from an elite drawn at random."""
        elite, rng = state.archive.pick(state.rng)
        return replace(state, law=fresh(elite, self.step), rng=rng)

    def _draw(self, state: MAEState, n: int) -> MAEState:
        z, rng = state.rng.normal(n, len(state.law.mean), dtype=torch.float64)
        y = (z * state.law.axes) @ state.law.basis.T
        u = state.law.mean + state.law.sigma * y
        u = state.space.retract(u) if self.retract else u
        return replace(state, y=y, squares=z.square().sum(1), u=u.float(), rng=rng)
