"""Many starts, few steps, keep the promising half: a good first guess, then refinement."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch

from zmax.core.checks import positive, whole
from zmax.core.errors import InputError
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.rng import Rng, stream
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.state import STATIC
from zmax.core.strategy import Gives, Need, Strategy
from zmax.kit.chains import Climb
from zmax.kit.ranks import ranking
from zmax.kit.rows import take
from zmax.search.ascent.gradient import Gradient
from zmax.search.ascent.lbfgs import LBFGS


@dataclass(frozen=True)
class HalvingState:
    """The chains that are left, and how far the rung is.

    Attributes:
        chains: one row each, the state of the method that moves them.
        rng: the stream that the next starts come from.
        round: rounds since the chains were last halved.
    """

    chains: Any
    rng: Rng
    round: int
    space: Space = field(metadata=STATIC)


FIRST_STEP = {"gradient": 1.0, "lbfgs": 0.3}
"""First step of each climb, in the units of its method."""


class Halving(Strategy[HalvingState]):
    r"""Gradient chains under successive halving.

    `starts` chains are drawn from the prior and climb by Adam or L-BFGS. Every `rounds` rounds the half with the
    lower best scores is given up, until `keep` are left; these climb until each is spent, and then the method begins
    again with fresh draws. With n starts and r rounds the halvings cost less than :math:`2 n r` calls.

    Args:
        starts: chains at the beginning.
        keep: chains that are refined to the end.
        rounds: rounds between halvings.
        climb: what moves the chains: "gradient" (:class:`~zmax.search.ascent.gradient.Gradient`), or "lbfgs"
            (:class:`~zmax.search.ascent.lbfgs.LBFGS`), which is more precise on smooth scores and slower a call.
        step: first step, in the units of that method; None is 1 for "gradient", 0.3 for "lbfgs".
        patience: steps without improvement before "gradient" halves a chain's step.
        retract: keep every point on the shell of plausibility at least 0.5.

    Raises:
        InputError: an argument is not a positive number, or there is no such climb.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = Halving(starts=8)
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        torch.Size([8, 100])
    """

    needs = frozenset({Need.GRADIENT})
    gives = frozenset({Gives.RETRACTION})
    begins = Starts.CHAINS
    use: ClassVar[str] = "a score with gradients and many local maxima"
    reference: ClassVar[str] = "Jamieson and Talwalkar, AISTATS 2016, figure 1, https://arxiv.org/abs/1502.07943"

    def __init__(
        self,
        *,
        starts: int = 24,
        keep: int = 6,
        rounds: int = 2,
        climb: str = "gradient",
        step: float | None = None,
        patience: int = 4,
        retract: bool = True,
    ) -> None:
        positive("Halving", step=step)
        whole("Halving", starts=starts, keep=keep, rounds=rounds, patience=patience)
        if climb not in FIRST_STEP:
            raise InputError("Halving(climb=...)", expected=" or ".join(map(repr, FIRST_STEP)), got=repr(climb))
        self.starts = starts
        self.keep = keep
        self.rounds = rounds
        self.climb = climb
        self.step = step
        self.patience = patience
        self.retract = retract
        self._climb = _climber(climb, starts, FIRST_STEP[climb] if step is None else step, patience, retract)

    def init(self, space: Space, rng: torch.Generator) -> HalvingState:
        """Draw every chain from the prior."""
        return self._begin(space, Rng.of(rng))

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> HalvingState:
        """Set out from the points of a start, and from neighbours of theirs."""
        state = self._begin(space, Rng.of(rng))
        z, _ = state.rng.normal(self.starts, space.dim)
        return replace(state, chains=self._climb.placed(state.chains, start.places(z)))

    def ask(self, state: HalvingState) -> Proposal:
        """Return where the chains are."""
        return self._climb.ask(state.chains)

    def tell(self, state: HalvingState, evaluation: Evaluation) -> HalvingState:
        """Move every chain; halve them when it is time, begin again when the last are spent."""
        chains, spent = self._climb.advance(state.chains, evaluation)
        count = len(spent)
        if count <= self.keep:
            if bool(spent.all()):
                return self._begin(state.space, state.rng)
            return replace(state, chains=take(chains, ~spent))
        if state.round + 1 < self.rounds:
            return replace(state, chains=self._climb.redraw(chains, spent), round=state.round + 1)
        order = ranking(self._climb.best(chains), ~spent)
        survivors = order[: max(self.keep, (count + 1) // 2)].sort().values
        chains = self._climb.redraw(take(chains, survivors), spent[survivors])
        return replace(state, chains=chains, round=0)

    def _begin(self, space: Space, rng: Rng) -> HalvingState:
        """Draw all chains; their redraws come from another stream than the starts that follow."""
        generator = rng.generator()
        seed = int(torch.randint(2**62, (), generator=generator, device="cpu"))
        return HalvingState(self._climb.init(space, stream(seed, "chains")), Rng.of(generator), 0, space)


def _climber(name: str, batch: int, step: float, patience: int, retract: bool) -> Climb[Any]:
    if name == "gradient":
        return Gradient(step=step, batch=batch, patience=patience, retract=retract)
    return LBFGS(step=step, batch=batch, retract=retract)
