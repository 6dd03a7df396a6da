"""Every evaluation of a run as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zmax.core.errors import MissingExtraError
from zmax.core.goals import Goals, hypervolumes
from zmax.store import REFERENCE, Chunk

if TYPE_CHECKING:
    import pandas as pd

Column = npt.NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """One row an evaluation, in order.

    Attributes:
        id: running number.
        round: the method's round, -1 for the reference batch.
        score: final value, -inf where the evaluation failed.
        plausibility: typicality of the point under the prior; NaN where it has no coordinates.
        score_calls: the ledger's score calls once the row's batch was done.
        seconds: wall-clock time by then.
        final: whether the sample has coordinates, so that G makes it; not so previews and perturbed samples.
        parts: value of each term of a combined score.
        failures: reason by id, for those that failed.
        violation: by how much the sample misses the constraints, in spreads of these; 0 where it meets all.
        goals: names of the parts that have to be high one by one, none where S is one number.
        again: reads the chunks that hold the latents once more; None where nobody can.
        whys: what the score said beside its number, by id, where it said anything.
    """

    id: npt.NDArray[np.int64]
    round: npt.NDArray[np.int64]
    score: Column
    plausibility: Column
    score_calls: Column
    seconds: Column
    final: npt.NDArray[np.bool_]
    parts: dict[str, Column]
    failures: dict[int, str]
    violation: Column
    goals: tuple[str, ...] = ()
    again: Callable[[], Iterable[Chunk]] | None = field(default=None, repr=False, compare=False)
    whys: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        chunks: Iterable[Chunk],
        again: Callable[[], Iterable[Chunk]] | None = None,
        goals: tuple[str, ...] = (),
    ) -> History:
        """Collect the columns from journalled chunks, all but the latents, which `again` reads when asked."""
        columns: dict[str, list[Any]] = {
            name: [] for name in ("id", "round", "score", "plausibility", "calls", "seconds", "final", "violation")
        }
        parts, failures, whys = dict[str, list[Any]](), dict[int, str](), dict[int, str]()
        for c in chunks:
            n = len(c.score)
            columns["id"].append(np.arange(c.first_id, c.first_id + n))
            columns["round"].append(np.full(n, c.round))
            columns["score"].append(c.score.double().numpy())
            columns["plausibility"].append(_filled(c.plausibility, n, np.nan))
            columns["calls"].append(np.full(n, float(c.ledger.score_calls)))
            columns["seconds"].append(np.full(n, c.ledger.seconds))
            columns["final"].append(np.full(n, c.final))
            columns["violation"].append(_filled(c.violation, n, 0.0))
            for name, value in c.parts.items():
                parts.setdefault(name, []).append(value.double().numpy())
            failures |= {c.first_id + i: reason for i, reason in c.failures.items() if n}
            whys |= {c.first_id + i: why for i, why in c.whys.items()}
        joined = {name: np.concatenate(values) if values else np.zeros(0) for name, values in columns.items()}
        return cls(
            id=joined["id"].astype(np.int64),
            round=joined["round"].astype(np.int64),
            score=joined["score"],
            plausibility=joined["plausibility"],
            score_calls=joined["calls"],
            seconds=joined["seconds"],
            final=joined["final"].astype(bool),
            parts={name: np.concatenate(values) for name, values in parts.items()},
            failures=failures,
            violation=joined["violation"],
            goals=goals,
            again=again,
            whys=whys,
        )

    def __len__(self) -> int:
        return len(self.id)

    @property
    def feasible(self) -> npt.NDArray[np.bool_]:
        """Whether each sample has a score and meets all constraints."""
        met: npt.NDArray[np.bool_] = np.isfinite(self.score) & (self.violation == 0)
        return met

    def hypervolume(self) -> Column:
        """Return the volume that was dominated up to and including each evaluation, where there are several goals.

        It is counted above the lowest value of each goal in the reference batch, in standard deviations of each there;
        of samples that meet all constraints.
        """
        return self._hypervolume.copy()

    @cached_property
    def _hypervolume(self) -> Column:
        first = (self.round == REFERENCE) & np.isfinite(self.score)
        if not self.goals or not first.any():
            return np.zeros(len(self))
        goals, values = Goals(self.goals), {name: torch.from_numpy(self.parts[name]) for name in self.goals}
        goals.settle(values, torch.from_numpy(first))
        rows = np.where((self.final & self.feasible)[:, None], goals.lifted(values).numpy(), 0.0)
        return hypervolumes(rows, np.zeros(len(self.goals)))

    def best_so_far(self) -> Column:
        """Return the best final score up to and including each evaluation, of samples that meet all constraints."""
        score = np.where(self.final & self.feasible, self.score, -np.inf)
        best: Column = np.maximum.accumulate(score) if len(self) else score
        return best

    def latents(self) -> npt.NDArray[np.float32]:
        """Return the whitened coordinates u (n, d) of each evaluation, NaN where it has none.

        The latents that G takes are `G.space.latents(torch.from_numpy(u))`.
        """
        parts = [(len(c.score), c.u) for c in (self.again() if self.again is not None else ()) if len(c.score)]
        d = max((u.shape[1] for _, u in parts if u is not None), default=0)
        rows = [np.full((n, d), np.nan, np.float32) if u is None else u.float().numpy() for n, u in parts]
        return np.concatenate(rows) if rows else np.zeros((len(self), 0), np.float32)

    def to_pandas(self) -> pd.DataFrame:
        """Return the history as a data frame: a column a field, one a part, and u[0], u[1], ... with the latents.

        `zmax.maximize(..., start=frame)` begins at the latents of a frame, with the scores that it has.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("pandas", "pandas", "history.to_pandas()") from error
        columns: dict[str, npt.NDArray[Any]] = {"id": self.id, "round": self.round, "score": self.score}
        columns |= {"plausibility": self.plausibility, "score_calls": self.score_calls, "seconds": self.seconds}
        columns |= {"final": self.final, "feasible": self.feasible, "violation": self.violation, **self.parts}
        columns |= {"hypervolume": self.hypervolume()} if self.goals else {}
        frame = pd.DataFrame(columns)
        frame["failure"] = [self.failures.get(int(i), "") for i in self.id]
        if self.whys:
            frame["why"] = [self.whys.get(int(i), "") for i in self.id]
        u = self.latents()
        return pd.concat([frame, pd.DataFrame(u, columns=[f"u[{i}]" for i in range(u.shape[1])])], axis=1)


def _filled(values: Tensor | None, n: int, otherwise: float) -> Column:
    """Return the values of n rows, one number for all where there are none."""
    return np.full(n, otherwise) if values is None else values.double().numpy()
