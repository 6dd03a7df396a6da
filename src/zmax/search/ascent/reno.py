"""ReNO's optimiser: Nesterov ascent with clipped gradients and a prior on the noise's norm."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.errors import InputError
from zmax.core.proposal import Evaluation, Latents, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.state import STATIC
from zmax.core.strategy import Need, Strategy
from zmax.kit.chains import TINY, clipped, gradient_of
from zmax.kit.rows import where_rows

PAPER_DIM = 16_384  # coordinates of the noise of a 512 x 512 picture, which the paper's rate is made for


@dataclass(frozen=True)
class RenoState:
    """One row a chain.

    Attributes:
        u: where each chain is.
        velocity: its momentum buffer.
        age: steps since it was drawn.
        rng: the stream that redraws come from.
    """

    u: Float[Tensor, "n dim"]
    velocity: Float[Tensor, "n dim"]
    age: Int[Tensor, " n"]
    rng: Rng
    space: Space = field(metadata=STATIC)


class Reno(Strategy[RenoState]):
    r"""Nesterov gradient ascent on the score plus the log density of the latent's norm; independent chains.

    .. math:: g = \mathrm{clip}_c\bigl(\nabla S + \lambda \nabla K(u)\bigr),\quad
              K(u) = (d - 1) \ln |u| - |u|^2 / 2,\quad
              v \leftarrow \mu v + g,\quad u \leftarrow u + \eta\,(g + \mu v)

    K is the log density of the chi law of :math:`|u|`, block by block, and the clip is of each chain's own norm. The
    rate is the paper's at 16,384 coordinates and is scaled by :math:`\sqrt{d / 16384}`, so that the longest step is the
    same share of the prior's norm in every space. A chain is redrawn after `steps` steps or when its sample fails.

    Args:
        rate: :math:`\eta` at 16,384 coordinates.
        clip: largest gradient norm c, in units of S.
        weight: :math:`\lambda`, in units of S.
        momentum: :math:`\mu`.
        steps: steps of a chain.
        batch: number of chains.

    Raises:
        InputError: an argument is not a positive number, or the momentum is not in [0, 1).

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = Reno(batch=4)
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        torch.Size([4, 100])
    """

    needs = frozenset({Need.GRADIENT})
    use: ClassVar[str] = "one-step diffusion models and rewards of the paper's scale"
    reference: ClassVar[str] = "Eyring et al., ReNO, NeurIPS 2024, section 3, https://arxiv.org/abs/2406.04312"

    def __init__(
        self,
        *,
        rate: float = 5.0,
        clip: float = 0.1,
        weight: float = 0.01,
        momentum: float = 0.9,
        steps: int = 50,
        batch: int = 16,
    ) -> None:
        positive("Reno", rate=rate, clip=clip, weight=weight)
        whole("Reno", steps=steps, batch=batch)
        if isinstance(momentum, bool) or not isinstance(momentum, (int, float)) or not 0 <= momentum < 1:
            raise InputError("Reno(momentum=...)", expected="a number in [0, 1)", got=repr(momentum))
        self.rate = rate
        self.clip = clip
        self.weight = weight
        self.momentum = momentum
        self.steps = steps
        self.batch = batch

    def init(self, space: Space, rng: torch.Generator) -> RenoState:
        """Draw every chain from the prior."""
        zero = torch.zeros(self.batch, space.dim, dtype=torch.float64)
        blank = RenoState(zero.float(), zero, torch.zeros(self.batch, dtype=torch.long), Rng.of(rng), space)
        return _redraw(blank, torch.ones(self.batch, dtype=torch.bool))

    def ask(self, state: RenoState) -> Proposal:
        """Return where the chains are."""
        return Proposal(Latents(state.u), Value(grad="point"))

    def tell(self, state: RenoState, evaluation: Evaluation) -> RenoState:
        """Move every chain one step; redraw those that failed or are at their end."""
        u = state.u.double()
        gradient = gradient_of("Reno", evaluation) + self.weight * chi_gradient(state.space, u)
        gradient = clipped(gradient, self.clip)
        velocity = self.momentum * state.velocity + gradient
        rate = self.rate * (state.space.dim / PAPER_DIM) ** 0.5
        u = u + rate * (gradient + self.momentum * velocity)
        moved = replace(state, u=u.float(), velocity=velocity, age=state.age + 1)
        return _redraw(moved, ~evaluation.ok | (moved.age >= self.steps))


def chi_gradient(space: Space, u: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
    r"""Return the gradient of :math:`(k - 1) \ln |u_b| - |u_b|^2 / 2`, summed over the blocks b of k coordinates.

    Example:
        >>> chi_gradient(Space.of((5,)), torch.tensor([[2.0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0]]))[:, 0].tolist()
        [0.0, 3.0]
    """
    return torch.cat(
        [((p.shape[1] - 1) / p.square().sum(1, keepdim=True).clamp_min(TINY) - 1) * p for p in space.split(u)], dim=1
    )


def _redraw(state: RenoState, rows: Tensor) -> RenoState:
    if not bool(rows.any()):
        return state
    generator = state.rng.generator()
    fresh = state.space.sample(len(rows), generator)
    return replace(
        state,
        u=where_rows(rows, fresh, state.u),
        velocity=state.velocity.masked_fill(rows[:, None], 0.0),
        age=state.age.masked_fill(rows, 0),
        rng=Rng.of(generator),
    )
