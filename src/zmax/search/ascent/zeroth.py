"""Zeroth-order ascent: the gradient of a black-box score is estimated at the sample and pulled back through G."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zmax.core.checks import positive, whole
from zmax.core.errors import InputError
from zmax.core.proposal import Evaluation, Latents, Proposal, Pullback, Pushforward, SamplesAt, Value
from zmax.core.rng import Rng
from zmax.core.samples import spread
from zmax.core.space import Space
from zmax.core.start import Start, Starts
from zmax.core.strategy import Need, Strategy
from zmax.kit.chains import TINY
from zmax.kit.sampled import sample_rows
from zmax.search.ascent.gradient import Gradient, GradientState

LONGEST = 1e20  # a longer cotangent would overflow single precision on its way through G
SCORE, TANGENT, DIFFERENCE, PULL = range(4)


@dataclass(frozen=True)
class ZerothState:
    """The chains, and how far each has come in estimating its gradient; one row a chain that is alive this round.

    Attributes:
        ascent: where the chains are and how they move.
        phase: what is asked next: scores at u, decoder tangents, scores at x +- sigma e, or the pull-back.
        score: S(x) of every chain.
        ok: which chains are alive.
        x: their samples.
        width: sigma, in the samples' units.
        e: directions, of root mean square 1.
        cotangent: the estimate of the score's gradient at x.
        rng: the stream that directions come from.
    """

    ascent: GradientState
    phase: int
    score: Float[Tensor, " chains"]
    ok: Bool[Tensor, " chains"]
    x: Float[Tensor, "n ..."]
    width: Float[Tensor, " n"]
    e: Float[Tensor, "n pairs ..."]
    cotangent: Float[Tensor, "n ..."]
    rng: Rng


class Zeroth(Strategy[ZerothState]):
    r"""Estimates the gradient of a black-box S at x = G(u) by antithetic differences and pulls it back: J(u)^T g.

    .. math:: g = \frac{1}{c} \sum_{i=1}^{k} \frac{S(x + \sigma e_i) - S(x - \sigma e_i)}{2 \sigma}\, e_i,
              \qquad u \leftarrow \mathrm{Adam}(u, J(u)^T g)

    With "gaussian" directions :math:`e_i \sim N(0, I)` in sample space and c = k: for a linear S the estimate is
    unbiased. With "tangent" directions the :math:`e_i` are an orthonormal basis of the span of :math:`J v_i`,
    :math:`v_i \sim N(0, I_d)`, stretched to the norm of Gaussian ones, and c = their squared norm: for a linear S the
    estimate is the projection of its gradient onto that span, so no call is spent where G cannot go. Each of the chains
    pays 1 + 2k calls a step and moves as in :class:`~zmax.search.ascent.gradient.Gradient`; no chain ever sees another.

    Args:
        step: first step of a chain, in units of the prior's standard deviation.
        batch: number of chains.
        pairs: antithetic pairs k for an estimate.
        sigma: width of a difference, in units of the standard deviation of the values within a sample.
        directions: "tangent" or "gaussian".
        patience: steps without improvement before a chain's step is halved.

    Raises:
        InputError: an argument is not a positive number, or `directions` is another word.

    Example:
        >>> from zmax.core.rng import stream
        >>> from zmax.core.space import Space
        >>> method = Zeroth(batch=2)
        >>> method.ask(method.init(Space.of((100,)), stream(0))).u.shape
        torch.Size([2, 100])
    """

    needs = frozenset({Need.BETWEEN, Need.JACOBIAN})
    begins = Starts.CHAINS
    use: ClassVar[str] = "black-box score that samples off the manifold do not upset, thousands of calls"
    reference: ClassVar[str] = (
        "Nesterov and Spokoiny, Random gradient-free minimization of convex functions, Foundations of Computational "
        "Mathematics 17, 2017, equation 30, https://doi.org/10.1007/s10208-015-9296-2"
    )

    def __init__(
        self,
        *,
        step: float = 0.5,
        batch: int = 1,
        pairs: int = 8,
        sigma: float = 0.05,
        directions: str = "tangent",
        patience: int = 5,
    ) -> None:
        name = type(self).__name__
        positive(name, sigma=sigma)
        whole(name, pairs=pairs)
        if directions not in ("tangent", "gaussian"):
            raise InputError(f"{name}(directions=...)", expected="'tangent' or 'gaussian'", got=repr(directions))
        self.step = step
        self.batch = batch
        self.patience = patience
        self.pairs = pairs
        self.sigma = sigma
        self.directions = directions
        self._ascent = Gradient(step=step, batch=batch, patience=patience)

    def init(self, space: Space, rng: torch.Generator) -> ZerothState:
        """Draw every chain from the prior."""
        chains, directions = Rng.of(rng).split()
        return _before(self._ascent.init(space, chains.generator()), directions)

    def begin(self, space: Space, rng: torch.Generator, start: Start) -> ZerothState:
        """Set out from the points of a start, one chain each."""
        chains, directions = Rng.of(rng).split()
        return _before(self._ascent.begin(space, chains.generator(), start), directions)

    def ask(self, state: ZerothState) -> Proposal:
        """Return what the phase asks for."""
        if state.phase == SCORE:
            return Proposal(Latents(state.ascent.u), Value(samples=True))
        u = state.ascent.u[state.ok]
        if state.phase == PULL:
            return Proposal(Latents(u), Pullback(state.cotangent))
        if state.phase == TANGENT:
            many = u.repeat_interleave(self.pairs, 0)
            return Proposal(Latents(many), Pushforward(state.e.flatten(0, 1)))
        shift = spread(state.width, state.e) * state.e
        pairs = torch.stack([state.x[:, None] + shift, state.x[:, None] - shift], dim=2)
        return Proposal(SamplesAt(pairs.flatten(0, 2)))

    def tell(self, state: ZerothState, evaluation: Evaluation) -> ZerothState:
        """Go on to the next phase; the last one moves the chains."""
        if state.phase == SCORE:
            return self._scored(state, evaluation)
        if state.phase == TANGENT:
            if evaluation.grad is None or not bool(evaluation.ok.any()):
                return self._moved(state, None)
            tangents = evaluation.grad.reshape(len(state.x), self.pairs, *state.x.shape[1:])
            return replace(state, e=orthonormal(tangents), phase=DIFFERENCE)
        if state.phase == DIFFERENCE:
            return replace(state, cotangent=self._estimate(state, evaluation).to(state.x.dtype), phase=PULL)
        return self._moved(state, evaluation.grad)

    def _scored(self, state: ZerothState, evaluation: Evaluation) -> ZerothState:
        """Keep the samples of the chains that are alive, and draw directions for them."""
        x, ok = sample_rows(evaluation)
        state = replace(state, score=evaluation.score.double(), ok=ok)
        if not bool(ok.any()):
            return self._moved(state, None)
        deviation = x.flatten(1).double().std(dim=1, correction=0)
        width = self.sigma * torch.where(deviation > 0, deviation, 1.0)
        tangent = self.directions == "tangent"
        shape = state.ascent.u.shape[1:] if tangent else x.shape[1:]
        e, rng = state.rng.normal(len(x), self.pairs, *shape)
        phase = TANGENT if tangent else DIFFERENCE
        return replace(state, x=x, width=width.to(x), e=e, cotangent=torch.zeros_like(x), rng=rng, phase=phase)

    def _estimate(self, state: ZerothState, evaluation: Evaluation) -> Tensor:
        """Combine the directions by the slopes along them; a pair of which one sample failed says nothing."""
        n, e = len(state.x), state.e.double()
        score, ok = evaluation.score.double().reshape(n, self.pairs, 2), evaluation.ok.reshape(n, self.pairs, 2).all(2)
        slope = torch.where(ok, score[..., 0] - score[..., 1], 0.0) / (2 * state.width.double()[:, None])
        count = ok.sum(1).clamp_min(1) if self.directions == "gaussian" else slope.new_full((n,), state.x[0].numel())
        estimate = (spread(slope, e) * e).sum(1) / spread(count, state.x)
        return estimate / spread((estimate.flatten(1).norm(dim=1) / LONGEST).clamp_min(1.0), estimate)

    def _moved(self, state: ZerothState, grad: Tensor | None) -> ZerothState:
        """Move the chains along the gradients that came back; those without one coast."""
        full = torch.zeros_like(state.ascent.u)
        if grad is not None:
            full[state.ok] = grad.to(full)
        told = Evaluation(state.score, state.ok, None, range(0), full)
        return replace(state, ascent=self._ascent.tell(state.ascent, told), phase=SCORE)


def _before(ascent: GradientState, directions: Rng) -> ZerothState:
    none = torch.zeros(0)
    return ZerothState(ascent, SCORE, none.double(), none.bool(), none, none, none[:, None], none, directions)


def orthonormal(tangents: Float[Tensor, "n k ..."]) -> Float[Tensor, "n k ..."]:
    """Return orthogonal directions of root mean square 1 that span each row's tangents; surplus ones are 0."""
    flat = tangents.double().flatten(2)
    flat = flat / flat.norm(dim=2, keepdim=True).clamp_min(TINY)
    u, s, v = torch.linalg.svd(flat, full_matrices=False)
    del u
    basis = torch.zeros_like(flat)
    basis[:, : v.shape[1]] = v * (s > 1e-6 * s[:, :1].clamp_min(TINY))[..., None]
    return (basis * flat.shape[2] ** 0.5).reshape(tangents.shape).to(tangents.dtype)
