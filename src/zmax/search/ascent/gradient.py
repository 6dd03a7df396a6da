"""Gradient ascent in whitened coordinates, many independent chains at once, kept on the prior's typical shell."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.proposal import Evaluation, Latents, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.state import ROW, STATIC
from zmax.core.strategy import Gives
from zmax.kit.chains import TINY, Climb, Progress, gradient_of, tangent

BETA1, BETA2 = 0.9, 0.99


@dataclass(frozen=True)
class GradientState:
    """One row a chain: where it is, its moments, its step, and how long since it last improved.

    Attributes:
        u: where each chain is.
        first: moving mean of its ascent directions.
        second: moving mean of their squares.
        age: steps since it was drawn.
        step: its present step, in units of the prior's standard deviation.
        best: its best score.
        stalled: steps since that best, or since its step was last halved.
        rng: the stream that redraws come from.
    """

    u: Float[Tensor, "n dim"] = field(metadata=ROW)
    first: Float[Tensor, "n dim"] = field(metadata=ROW)
    second: Float[Tensor, "n dim"] = field(metadata=ROW)
    age: Int[Tensor, " n"] = field(metadata=ROW)
    step: Float[Tensor, " n"] = field(metadata=ROW)
    best: Float[Tensor, " n"] = field(metadata=ROW)
    stalled: Int[Tensor, " n"] = field(metadata=ROW)
    rng: Rng
    space: Space = field(metadata=STATIC)


class Gradient(Climb[GradientState]):
    r"""Adam ascent in u with retraction to the prior's typical shell; independent chains.

    Each chain follows, with :math:`g_t` the gradient with its part that retraction would undo taken out,

    .. math:: m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \quad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2, \quad
              u_{t+1} = R\!\left(u_t + \eta\, \frac{m_t / (1-\beta_1^t)}{\sqrt{v_t / (1-\beta_2^t)}}\right)

    so multiplying S by a constant changes nothing. A gradient is cut to `clip` times the chain's own running norm.
    A chain that has not improved for `patience` steps halves its step; after six halvings, or when its sample
    fails, it is redrawn from the prior. No chain ever sees another.

    Args:
        step: first step :math:`\eta`, in units of the prior's standard deviation. Loss left after 100 calls, relative
            to best-of-N: 0.27, 0.10, 0.07, 0.04 at 0.1, 0.3, 0.5, 1; equal after 2000 (`benchmarks/first_step.py`).
        batch: number of chains; fewer climb faster, more find more peaks.
        patience: steps without improvement before the step is halved.
        clip: largest gradient norm, in units of the chain's running root mean square norm.
        retract: keep every point on the shell of plausibility at least 0.5; without it norms drift.

    Raises:
        InputError: an argument is not a positive number.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = Gradient(batch=4)
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        torch.Size([4, 100])
    """

    gives = frozenset({Gives.RETRACTION})
    reference: ClassVar[str] = "Kingma and Ba, Adam, ICLR 2015, algorithm 1, https://arxiv.org/abs/1412.6980"

    def __init__(
        self, *, step: float = 0.5, batch: int = 16, patience: int = 10, clip: float = 3.0, retract: bool = True
    ) -> None:
        positive("Gradient", step=step, clip=clip)
        whole("Gradient", batch=batch, patience=patience)
        self.step = step
        self.batch = batch
        self.patience = patience
        self.clip = clip
        self.retract = retract

    def init(self, space: Space, rng: torch.Generator) -> GradientState:
        """Draw every chain from the prior."""
        return self.drawn(self.batch, space, Rng.of(rng))

    def ask(self, state: GradientState) -> Proposal:
        """Return where the chains are."""
        return Proposal(Latents(state.u), Value(grad="point"))

    def advance(self, state: GradientState, evaluation: Evaluation) -> tuple[GradientState, Bool[Tensor, " n"]]:
        """Move every chain one step, and say which have failed or have stalled for good."""
        moved = self._ascend(state, self._direction(state, gradient_of("Gradient", evaluation)))
        progress, spent = Progress(state.step, state.best, state.stalled).told(evaluation, self.patience, self.step)
        return replace(moved, **vars(progress)), spent

    def placed(self, state: GradientState, u: Float[Tensor, "n dim"]) -> GradientState:
        """Return chains that were just drawn, moved to those points."""
        return replace(state, u=u)

    def best(self, state: GradientState) -> Float[Tensor, " n"]:
        """Return the best score of each chain since it was drawn."""
        return state.best

    def _direction(self, state: GradientState, grad: Tensor) -> Tensor:
        """Take out of the gradient what retraction would undo, then cut its norm."""
        grad = tangent(state.space, state.u, grad) if self.retract else grad
        norm = grad.norm(dim=1, keepdim=True)
        usual = (state.second.sum(1) / (1 - BETA2 ** state.age.double()).clamp_min(TINY)).sqrt()[:, None]
        limit = torch.where(usual > 0, self.clip * usual, norm)
        return grad * (limit / norm.clamp_min(TINY)).clamp(max=1.0)

    def _ascend(self, state: GradientState, g: Tensor) -> GradientState:
        """Adam's step (algorithm 1), then the retraction."""
        age = state.age + 1
        first = BETA1 * state.first + (1 - BETA1) * g
        second = BETA2 * state.second + (1 - BETA2) * g.square()
        mean = first / (1 - BETA1 ** age.double())[:, None]
        spread = (second / (1 - BETA2 ** age.double())[:, None]).sqrt()
        u = state.u.double() + state.step[:, None] * mean / spread.clamp_min(TINY)
        u = state.space.retract(u) if self.retract else u
        return replace(state, u=u.to(state.u.dtype), first=first, second=second, age=age)

    def drawn(self, n: int, space: Space, rng: Rng) -> GradientState:
        """Return the state of n chains drawn from the prior, with the stream that follows."""
        generator = rng.generator()
        u = space.sample(n, generator)
        u = space.retract(u) if self.retract else u
        zero, none = torch.zeros(n, space.dim, dtype=torch.float64), torch.zeros(n, dtype=torch.long)
        step, best = (torch.full((n,), value, dtype=torch.float64) for value in (self.step, float("-inf")))
        return GradientState(u, zero, zero, none, step, best, none, Rng.of(generator), space)
