"""The proposal: where to look and what is wanted there, two independent choices; and the evaluation that comes back.

Where: :class:`Latents`, :class:`SamplesAt`, :class:`PathPoints`. What: :class:`Value`, :class:`Pullback`,
:class:`Pushforward`, :class:`Unscored`. Any where goes with any what. A where with coordinates u can become a run's
best; one without never can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Protocol

from jaxtyping import Bool, Float
from torch import Tensor

from zmax.core.samples import Samples


@dataclass(frozen=True)
class Latents:
    """Points of latent space, in whitened coordinates u; what they show is G(u)."""

    u: Float[Tensor, "n dim"]
    counted: ClassVar[str] = "decodes"

    @property
    def points(self) -> Float[Tensor, "n dim"]:
        """The points themselves."""
        return self.u

    def __len__(self) -> int:
        return len(self.u)

    def rows(self, rows: slice) -> Latents:
        """Return some of them."""
        return Latents(self.u[rows])


@dataclass(frozen=True)
class SamplesAt:
    """Samples as they are, such as perturbed ones; they show themselves and cost no decode.

    Attributes:
        x: the samples, without a graph.
        u: whitened coordinates, if x is what G makes of them.
    """

    x: Samples
    u: Float[Tensor, "n dim"] | None = None
    counted: ClassVar[str] = ""

    @property
    def points(self) -> Samples:
        """The points themselves."""
        return self.x

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, rows: slice) -> SamplesAt:
        """Return some of them."""
        return SamplesAt(self.x[rows], None if self.u is None else self.u[rows])


@dataclass(frozen=True)
class PathPoints:
    """Points x_t on the path from noise to data; what they show is E[x_0 | x_t], one network evaluation a row.

    Attributes:
        x: x_t, in the network's scale.
        t: the time of each.
        u: whitened coordinates, if E[x_0 | x_t] is the sample that G makes of them, as it is at the end of the path.
        ahead: further denoising steps that sharpen what S is shown, each one more network evaluation.
    """

    x: Float[Tensor, "n ..."]
    t: Float[Tensor, " n"]
    u: Float[Tensor, "n dim"] | None = None
    ahead: int = 0
    counted: ClassVar[str] = "previews"

    @property
    def points(self) -> Float[Tensor, "n ..."]:
        """The points themselves."""
        return self.x

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, rows: slice) -> PathPoints:
        """Return some of them."""
        u = None if self.u is None else self.u[rows]
        return PathPoints(self.x[rows], self.t[rows], u, self.ahead)


Where = Latents | SamplesAt | PathPoints
"""All have the `points` themselves, their coordinates `u` or None, and say as what the ledger has them `counted`."""


@dataclass(frozen=True)
class Value:
    """The score of what is shown, perhaps with its gradient, perhaps pooled over blurred copies.

    Attributes:
        grad: "point" for the gradient by the points (u, x or x_t; through decoder or network), "sample" for that by
            what they show (past decoder and network: by x, or by x_0), "" for none.
        blur: noises added to what is shown, m a row; then S is their log-mean-exp, for m score calls a row.
        temperature: of that log-mean-exp, in units of the score.
        samples: whether to be told what was shown, too.
        weights: of the goals, where S has several, by which each row is to be judged (:class:`~zmax.core.goals.Goals`);
            None for all alike.
    """

    grad: Literal["", "point", "sample"] = ""
    blur: Float[Tensor, "n m ..."] | None = None
    temperature: float = 1.0
    samples: bool = False
    weights: Float[Tensor, "n goals"] | None = None
    unseen_backward: ClassVar[int] = 0

    @property
    def calls(self) -> int:
        """Score calls a row."""
        return 1 if self.blur is None else self.blur.shape[1]

    @property
    def grads(self) -> int:
        """Score gradients a row."""
        return int(self.grad != "")

    @property
    def through(self) -> bool:
        """Whether it takes a graph from the points to what they show."""
        return self.grad == "point"

    def rows(self, rows: slice) -> Value:
        """Return what is wanted of some rows."""
        blur, weights = (None if part is None else part[rows] for part in (self.blur, self.weights))
        return replace(self, blur=blur, weights=weights)


class Cotangents(Protocol):
    """Cotangents that depend on what is shown, such as the slope of a surrogate of S; as data, one row a point."""

    def __getitem__(self, rows: slice) -> Cotangents:
        """Return those for some of the rows."""

    def __call__(self, samples: Tensor) -> Tensor:
        """Return one for each sample, of the samples' shape."""


@dataclass(frozen=True)
class Pullback:
    """The product J^T c with the Jacobian J of what is shown (G(u), or E[x_0 | x_t]) by the points; no score.

    Attributes:
        cotangent: one c for each row, of the shape of what is shown, or what gives them once that is known.
    """

    cotangent: Float[Tensor, "n ..."] | Cotangents
    calls: ClassVar[int] = 0
    grads: ClassVar[int] = 0
    through: ClassVar[bool] = True
    samples: ClassVar[bool] = True
    unseen_backward: ClassVar[int] = 0

    def rows(self, rows: slice) -> Pullback:
        """Return what is wanted of some rows."""
        return Pullback(self.cotangent[rows])


@dataclass(frozen=True)
class Pushforward:
    """The product J v with the Jacobian J of what is shown by the points; no score.

    Attributes:
        tangent: one v for each row, of the shape of the points.
    """

    tangent: Float[Tensor, "n ..."]
    calls: ClassVar[int] = 0
    grads: ClassVar[int] = 0
    through: ClassVar[bool] = True
    samples: ClassVar[bool] = True
    unseen_backward: ClassVar[int] = 1

    def rows(self, rows: slice) -> Pushforward:
        """Return what is wanted of some rows."""
        return Pushforward(self.tangent[rows])


@dataclass(frozen=True)
class Unscored:
    """Nothing but what is shown: G(u), or E[x_0 | x_t]; no score."""

    calls: ClassVar[int] = 0
    grads: ClassVar[int] = 0
    through: ClassVar[bool] = False
    samples: ClassVar[bool] = True
    unseen_backward: ClassVar[int] = 0

    def rows(self, rows: slice) -> Unscored:
        """Return what is wanted of some rows."""
        return self


Want = Value | Pullback | Pushforward | Unscored
"""All say what a row costs: score `calls`, score `grads`, whether it takes a graph `through` decoder or network, and
how many backward passes a forward one there are that no hook on the networks sees."""


@dataclass(frozen=True)
class Proposal:
    """Points to look at, and what is wanted there.

    Example:
        >>> import torch
        >>> proposal = Proposal(Latents(torch.zeros(4, 8)), Value(grad="point"))
        >>> len(proposal), proposal.want.calls, proposal.rows(slice(0, 3)).u.shape
        (4, 1, torch.Size([3, 8]))
    """

    at: Where
    want: Want = Value()

    @property
    def u(self) -> Float[Tensor, "n dim"] | None:
        """Whitened coordinates of the samples that are shown, None where they have none."""
        return self.at.u

    def __len__(self) -> int:
        return len(self.at)

    def rows(self, rows: slice) -> Proposal:
        """Return the proposal of some rows."""
        return Proposal(self.at.rows(rows), self.want.rows(rows))


@dataclass(frozen=True)
class Evaluation:
    """What came back for one proposal, row by row.

    Where nothing was to be scored, `score` is empty, and `ok` says which rows are finite and, of products, not all 0.

    Attributes:
        score: values; -inf where the sample failed.
        ok: False where the row failed; such rows take no part in selection.
        plausibility: typicality of each point under the prior, in [0, 1]; None without coordinates.
        ids: running number of each scored row in the run.
        grad: the gradient or product that was wanted, 0 where it was not finite; else None.
        parts: value of each term of a combined score.
        failures: reason by row, for the rows that failed.
        samples: what was shown, detached, where that was wanted: G(u), x, or E[x_0 | x_t] in the network's scale.
    """

    score: Float[Tensor, " n"]
    ok: Bool[Tensor, " rows"]
    plausibility: Float[Tensor, " n"] | None
    ids: range
    grad: Tensor | None = None
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    failures: Mapping[int, str] = field(default_factory=dict)
    samples: Samples | None = None
