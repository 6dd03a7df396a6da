"""Direct noise optimisation: gradient ascent over all noises of a sampler, held where noises look like noise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.errors import CapabilityError
from zmax.core.proposal import Evaluation, Latents, Proposal, Value
from zmax.core.rng import Rng
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.state import ROW, STATIC
from zmax.core.strategy import Gives, Need, Strategy
from zmax.guide.noise.concentration import noise_log_bound
from zmax.kit.chains import Progress
from zmax.kit.rows import cut, unit, where

MOMENTUM = 0.9
LONGEST = 3.0  # of the sum of the two slopes, of which the score's has length 1


@dataclass(frozen=True)
class DNOState:
    """One row a chain.

    Attributes:
        u: where each chain is.
        way: moving mean of its directions.
        step: its present step, in units of the prior's standard deviation.
        best: its best score.
        stalled: steps since that best, or since its step was last halved.
        rng: the stream of orders and redraws.
    """

    u: Float[Tensor, "n dim"] = field(metadata=ROW)
    way: Float[Tensor, "n dim"] = field(metadata=ROW)
    step: Float[Tensor, " n"] = field(metadata=ROW)
    best: Float[Tensor, " n"] = field(metadata=ROW)
    stalled: Int[Tensor, " n"] = field(metadata=ROW)
    rng: Rng
    space: Space = field(metadata=STATIC)


class DNO(Strategy[DNOState]):
    r"""Ascent of the score and of the log probability of the noises' moments, over all noises of the path.

    .. math:: g = \mathrm{clip}_3\Bigl(\frac{\nabla S}{|\nabla S|} + \gamma \nabla \log P(u)\Bigr), \quad
              w \leftarrow 0.9\, w + 0.1\, g, \quad
              u \leftarrow R\Bigl(u + \eta \sqrt d\, \frac{w}{|w|}\Bigr)

    P bounds how likely the mean and the covariance of the noises are under N(0, I), over the order in which they lie
    and over random ones, and is 1 while they are as they should be; see
    :func:`~zmax.guide.noise.concentration.noise_log_bound`. All norms are a chain's own and the score enters by its
    direction alone, so multiplying S by a constant changes nothing, and :math:`\gamma` is a pure number: a mean,
    or any other test of white noise, that is z > 1.2 standard deviations off is pulled back about :math:`\gamma z`
    times as hard as the score pulls. R moves each block's norm to the prior's typical shell. A chain that has not
    improved for `patience` steps halves its step; after six halvings, or when its sample fails, it is redrawn. (The
    paper has Adam, S as it is, and the bounds of mean and covariance alone, which let through noises that are no longer
    plausible, such as steps that all share one direction; Adam turns slopes into signs, which shift every noise.)

    Noises that look like noise do not make a picture that looks like one: on `avatars-flow` this fools a classifier
    with coloured noise where the glasses should be, which neither the plausibility nor a second classifier notices.

    Memory is the generator's business: `avatars-flow:50,truncated:5` differentiates the last five networks only, also
    in the stochastic path. For a black-box score the hybrid gradient is :class:`~zmax.search.DNOHybrid`.

    Args:
        step: first step :math:`\eta`, in units of the prior's standard deviation.
        batch: number of chains; fewer climb faster, more find more peaks.
        gamma: weight :math:`\gamma` of the noises' log probability, in lengths of the score's gradient a nat.
        width: coordinates k of the rows whose covariance is bounded.
        orders: random orders a step.
        patience: steps without improvement before the step is halved.
        retract: keep every point on the shell of plausibility at least 0.5.

    Raises:
        InputError: an argument is not a positive number.

    Example:
        >>> import zmax
        >>> law = zmax.testing.gaussian_mixture([[-1.0], [1.0]], [[[0.1]], [[0.1]]], [0.5, 0.5])
        >>> S = zmax.testing.quadratic_score([[1.0]], [2.5])
        >>> r = zmax.maximize(law.generator(steps=10), S, zmax.guide.DNO(), budget=100)
        >>> r.best.score > 2.5
        True
    """

    needs = frozenset({Need.GRADIENT, Need.PATH})
    gives = frozenset({Gives.RETRACTION})
    begins = Starts.CHAINS
    use: ClassVar[str] = "high scores of a diffusion model, at noises that pass for white; look at what they show"
    reference: ClassVar[str] = (
        "Tang et al., Inference-time alignment of diffusion models with direct noise optimization, ICML 2025, "
        "sections 3 and 4, https://arxiv.org/abs/2405.18881"
    )

    def __init__(
        self,
        *,
        step: float = 0.05,
        batch: int = 1,
        gamma: float = 0.3,
        width: int = 4,
        orders: int = 4,
        patience: int = 10,
        retract: bool = True,
    ) -> None:
        positive("DNO", step=step, gamma=gamma)
        whole("DNO", batch=batch, width=width, orders=orders, patience=patience)
        self.step = step
        self.batch = batch
        self.gamma = gamma
        self.width = width
        self.orders = orders
        self.patience = patience
        self.retract = retract

    def init(self, space: Space, rng: torch.Generator) -> DNOState:
        """Draw every chain from the prior."""
        return self._drawn(self.batch, space, Rng.of(rng))

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> DNOState:
        """Set out from the points of a start, one chain each."""
        u = start.u[: self.batch]
        return replace(self._drawn(len(u), space, Rng.of(rng)), u=u)

    def ask(self, state: DNOState) -> Proposal:
        """Return where the chains are."""
        return Proposal(Latents(state.u), Value(grad="point"))

    def tell(self, state: DNOState, evaluation: Evaluation) -> DNOState:
        """Move every chain one step; redraw those that have failed or have stalled for good."""
        if evaluation.grad is None:
            raise CapabilityError("DNO was told scores without gradients", expected="evaluation.grad")
        state = self._moved(state, evaluation.grad.double())
        progress, spent = Progress(state.step, state.best, state.stalled).told(evaluation, self.patience, self.step)
        fresh = self._drawn(len(spent), state.space, state.rng)  # whether or not a chain is spent
        return replace(where(spent, fresh, replace(state, **vars(progress))), rng=fresh.rng)

    def _moved(self, state: DNOState, grad: Tensor) -> DNOState:
        """Take a step along the mean of the directions, then retract."""
        generator = state.rng.generator()
        g = cut(unit(grad) + self.gamma * self._pull(state, generator), LONGEST)
        way = MOMENTUM * state.way + (1 - MOMENTUM) * g
        u = state.u.double() + state.step[:, None] * state.space.dim**0.5 * unit(way)
        u = state.space.retract(u) if self.retract else u
        return replace(state, u=u.float(), way=way, rng=Rng.of(generator))

    def _pull(self, state: DNOState, generator: torch.Generator) -> Tensor:
        """Return the gradient of the log probability of the noises' moments."""
        sizes = [block.size for block in state.space.blocks]
        orders = [[torch.randperm(k, generator=generator, device="cpu") for _ in range(self.orders)] for k in sizes]
        with torch.enable_grad():
            u = state.u.double().requires_grad_()
            value = noise_log_bound(state.space, u, self.width, orders)
            return torch.autograd.grad(value.sum(), u)[0]

    def _drawn(self, n: int, space: Space, rng: Rng) -> DNOState:
        generator = rng.generator()
        u = space.sample(n, generator)
        u = space.retract(u) if self.retract else u
        way, none = torch.zeros(n, space.dim, dtype=torch.float64), torch.zeros(n, dtype=torch.long)
        step, best = (torch.full((n,), value, dtype=torch.float64) for value in (self.step, -torch.inf))
        return DNOState(u, way, step, best, none, Rng.of(generator), space)
