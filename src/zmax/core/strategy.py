"""The strategy: proposes points, is told how they scored, and owns nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Literal, Protocol, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zmax.core.samples import Samples
from zmax.core.space import Space

StateT = TypeVar("StateT")


@dataclass(frozen=True)
class Latents:
    """Points to decode and score, in whitened coordinates."""

    u: Float[Tensor, "n dim"]


@dataclass(frozen=True)
class SamplesAt:
    """Samples to score as they are (previews, perturbed pictures), with the tensor to differentiate by, if any.

    Attributes:
        x: the samples, possibly carrying a graph back to `wrt`.
        wrt: where given, d sum(S) / d wrt is returned as the evaluation's gradient; one row a sample.
        u: the whitened coordinates these samples belong to, for the record.
    """

    x: Samples
    wrt: Tensor | None
    u: Float[Tensor, "n dim"]


class Cotangents(Protocol):
    """Cotangents that depend on the samples, such as the slope of a surrogate of S; as data, one row a sample."""

    def __getitem__(self, rows: slice) -> Cotangents:
        """Return those for some of the rows."""

    def __call__(self, samples: Tensor) -> Tensor:
        """Return one for each sample, of the samples' shape."""


@dataclass(frozen=True)
class Pullback:
    """Cotangents to pull back through the decoder: asks for J(u)^T c, and scores nothing.

    Attributes:
        u: where.
        cotangent: one for each sample, of the samples' shape, or what gives them once G(u) is known.
    """

    u: Float[Tensor, "n dim"]
    cotangent: Float[Tensor, "n ..."] | Cotangents


@dataclass(frozen=True)
class Pushforward:
    """Tangents to push through the decoder: asks for J(u) v, and scores nothing.

    Attributes:
        u: where.
        tangent: one for each point, in whitened coordinates.
    """

    u: Float[Tensor, "n dim"]
    tangent: Float[Tensor, "n dim"]


@dataclass(frozen=True)
class Preview:
    """Points x_t on the path from noise to data: asks for E[x_0 | x_t], and for the score of what it shows.

    What comes back is E[x_0 | x_t] as `Evaluation.samples`, in the network's own scale, and where asked the score of
    the sample that it shows and its gradient. One network evaluation a row, and a backward one for a gradient by x_t.

    Attributes:
        x: x_t, one row a point.
        t: the time of each.
        u: what tells the points apart, for the record; of final ones the whitened coordinates.
        scored: whether S is asked at all.
        grad: "x_t" for d S / d x_t through the network, "x_0" for d S / d x_0 without it, "" for none.
        final: whether E[x_0 | x_t] is the sample that G makes of u, as it is at the end of the path.
        ahead: further denoising steps that sharpen what S is shown; each is one more network evaluation.
        blur: noises added to what S is shown, m a row; then S is their log-mean-exp, for m score calls a row.
        temperature: of that log-mean-exp, in units of the score.
    """

    x: Float[Tensor, "n ..."]
    t: Float[Tensor, " n"]
    u: Float[Tensor, "n k"]
    scored: bool = True
    grad: Literal["", "x_t", "x_0"] = ""
    final: bool = False
    ahead: int = 0
    blur: Float[Tensor, "n m ..."] | None = None
    temperature: float = 1.0


Scored = Latents | SamplesAt | Preview
Proposal = Scored | Pullback | Pushforward


def is_final(proposal: Proposal) -> bool:
    """Say whether what is scored is what G makes of `u`, so that it can be a run's best."""
    return isinstance(proposal, Latents) or (isinstance(proposal, Preview) and proposal.final)


@dataclass(frozen=True)
class Population:
    """Points with the weights they stand for.

    Attributes:
        u: whitened coordinates (n, d).
        score: values (n,).
        log_weight: (n,), logsumexp is 0.
        log_z: estimate of log E_p exp(S / T), for methods that make one; a single number.
    """

    u: Float[Tensor, "n dim"]
    score: Float[Tensor, " n"]
    log_weight: Float[Tensor, " n"]
    log_z: Float[Tensor, ""] | None = None

    @classmethod
    def equal(cls, u: Float[Tensor, "n dim"], score: Float[Tensor, " n"]) -> Population:
        """Give every finite score the same weight, failures none."""
        alive = torch.isfinite(score)
        log_weight = torch.where(alive, -alive.sum().clamp_min(1).double().log(), float("-inf"))
        return cls(u, score, log_weight)


@dataclass(frozen=True)
class Evaluation:
    """What came back for one proposal, row by row.

    Attributes:
        score: final values; -inf where the sample failed.
        ok: False where the sample failed; such rows take no part in selection.
        plausibility: typicality of each point under the prior, in [0, 1].
        ids: running number of each evaluation in the run.
        grad: d score / d u (or d wrt) for methods that need it, 0 where it was not finite; else None.
        parts: value of each term of a combined score.
        failures: reason by row, for the rows that failed.
        samples: what was scored, or what a product was taken at, detached, for methods that need it; else None. Of a
            :class:`Preview` it is E[x_0 | x_t].

    What a :class:`Pullback`, a :class:`Pushforward` or an unscored :class:`Preview` brings back scores nothing: `score`
    and `plausibility` are empty, `ok` says which rows are finite (and, of products, not all zero), and a product is in
    `grad`, 0 where it is not finite.
    """

    score: Float[Tensor, " n"]
    ok: Bool[Tensor, " rows"]
    plausibility: Float[Tensor, " n"]
    ids: range
    grad: Tensor | None = None
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    failures: Mapping[int, str] = field(default_factory=dict)
    samples: Samples | None = None


class Strategy(ABC, Generic[StateT]):
    """A way of choosing the next points, as pure functions of a state.

    The constructor is the configuration: keyword-only, typed, with defaults that work. The state is a frozen dataclass
    of tensors, numbers and :class:`~zmax.core.rng.Rng`; saving it after any `tell` and going on from it gives what
    the uninterrupted run gives. `ask` is a pure projection of the state: asking twice proposes the same points.

    Attributes:
        needs_grad: whether evaluations must carry d score / d u.
        needs_jacobian: whether it proposes Jacobian products, so that G must be differentiable; S may be a black box.
        needs_samples: whether evaluations must carry the samples that were scored.
        needs_path: whether it steers the path from noise to data, so that G must be a diffusion or flow model; it then
            works in the space of `G.stochastic()`, of all noises on the path.
        needs: what must hold, in words for the method table.
        use: when to choose it, in words for the method table.
        reference: the paper, section and address the method follows.
    """

    needs_grad: ClassVar[bool] = False
    needs_jacobian: ClassVar[bool] = False
    needs_samples: ClassVar[bool] = False
    needs_path: ClassVar[bool] = False
    needs: ClassVar[str] = "any generator, any score"
    use: ClassVar[str] = ""
    reference: ClassVar[str] = ""

    @abstractmethod
    def init(self, space: Space, rng: torch.Generator) -> StateT:
        """Return the state before the first proposal."""

    @abstractmethod
    def ask(self, state: StateT) -> Proposal:
        """Return the points to evaluate next."""

    @abstractmethod
    def tell(self, state: StateT, evaluation: Evaluation) -> StateT:
        """Return the state that takes the evaluation of `ask(state)` into account."""

    def draws(self, state: StateT) -> Population | None:
        """Return the draws that the state stands for, None if the last round's points are as good as any."""
        return None
