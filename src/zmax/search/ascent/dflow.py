"""D-Flow: L-BFGS over the initial noise of a flow, with a prior on the noise's norm instead of a shell."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.proposal import Evaluation, Proposal
from zmax.core.space import Space
from zmax.core.state import STATIC
from zmax.core.strategy import Need, Strategy
from zmax.kit.chains import TINY, gradient_of
from zmax.kit.rows import where_rows
from zmax.search.ascent.lbfgs import LBFGS, LBFGSState
from zmax.search.ascent.reno import chi_gradient


@dataclass(frozen=True)
class DFlowState:
    """The chains, and what a nat of their noise's prior weighs; one row a chain.

    Attributes:
        inner: L-BFGS's state.
        unit: length of the score's gradient where each chain began, times the weight.
    """

    inner: LBFGSState
    unit: Float[Tensor, " n"]
    space: Space = field(metadata=STATIC)


class DFlow(Strategy[DFlowState]):
    r"""L-BFGS ascent of the score plus the log density of the noise's norm, through all of the sampler.

    .. math:: S(G(u)) + \lambda\, |g_0| \sum_b K(u_b), \qquad K(u_b) = (k_b - 1) \ln |u_b| - |u_b|^2 / 2

    K is the log density of the chi law of :math:`|u_b|`, and :math:`g_0` is the gradient of S where the chain began, so
    multiplying S by a constant changes nothing. With :math:`\lambda = 1` a score that went on pulling outward as it did
    there would hold the norm half a standard deviation of the prior outside the mode. Chains climb as those of
    :class:`~zmax.search.LBFGS` without retraction, which keeps norms on a shell instead. The paper starts from one
    noise, or in inverse problems from one that contains the target; this starts chains from prior draws.

    It takes any differentiable generator; the method's own are deterministic samplers (of a flow, or eta = 0), of
    which u is the initial noise. Of a sampler with fresh noise it moves all noises.

    Args:
        weight: :math:`\lambda`, in lengths of the chain's first gradient a nat.
        step: length of a chain's first move, in units of the prior's norm :math:`\sqrt d`.
        memory: pairs of moves that are kept.
        batch: number of chains.

    Raises:
        InputError: an argument is not a positive number.

    Example:
        >>> import torch, zmax
        >>> G = zmax.generator(torch.nn.Identity(), shape=(100,), modality="vector")
        >>> S = zmax.score(lambda x: -(x - 1).square().sum(1), differentiable=True)
        >>> r = zmax.maximize(G, S, "dflow", budget=400, seed=0)
        >>> r.best.score > -0.1
        True
    """

    needs = frozenset({Need.GRADIENT, Need.SMOOTH})
    use: ClassVar[str] = "inversion, inverse problems and other smooth scores over a deterministic flow"
    reference: ClassVar[str] = (
        "Ben-Hamu et al., D-Flow: differentiating through flows for controlled generation, ICML 2024, section 3, "
        "https://arxiv.org/abs/2402.14017"
    )

    def __init__(self, *, weight: float = 1.0, step: float = 0.3, memory: int = 8, batch: int = 8) -> None:
        positive("DFlow", weight=weight, step=step)
        whole("DFlow", memory=memory, batch=batch)
        self.weight = weight
        self.step = step
        self.memory = memory
        self.batch = batch
        self._climb = LBFGS(step=step, memory=memory, batch=batch, retract=False)

    def init(self, space: Space, rng: torch.Generator) -> DFlowState:
        """Draw every chain from the prior."""
        return DFlowState(self._climb.init(space, rng), torch.zeros(self.batch, dtype=torch.float64), space)

    def ask(self, state: DFlowState) -> Proposal:
        """Return the point each chain tries."""
        return self._climb.ask(state.inner)

    def tell(self, state: DFlowState, evaluation: Evaluation) -> DFlowState:
        """Add the prior to scores and gradients, then let L-BFGS take or shorten its steps."""
        grad, u = gradient_of("DFlow", evaluation), state.inner.candidate.double()
        began = (state.inner.score == -math.inf) & evaluation.ok
        unit = torch.where(began, self.weight * grad.norm(dim=1), state.unit)
        score = evaluation.score.double() + unit * chi_log_density(state.space, u)
        grad = where_rows(evaluation.ok, grad + unit[:, None] * chi_gradient(state.space, u), grad)
        told = replace(evaluation, score=score, grad=grad)
        return replace(state, inner=self._climb.tell(state.inner, told), unit=unit)


def chi_log_density(space: Space, u: Float[Tensor, "n dim"]) -> Float[Tensor, " n"]:
    r"""Return :math:`(k - 1) \ln |u_b| - |u_b|^2 / 2` less its maximum, summed over the blocks b of k coordinates.

    Example:
        >>> chi_log_density(Space.of((5,)), torch.tensor([[2.0, 0, 0, 0, 0]])).tolist()
        [0.0]
    """
    total = torch.zeros(len(u), dtype=u.dtype)
    for part in space.split(u):
        mode, square = max(part.shape[1] - 1, 0), part.square().sum(1)
        top = (mode * math.log(mode) - mode) / 2 if mode else 0.0
        total = total + (mode * square.clamp_min(TINY).log() - square) / 2 - top
    return total
