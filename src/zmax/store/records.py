"""What the journal holds, as data and as rows of its tables."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from zmax.core.budget import Ledger
from zmax.core.samples import Sample
from zmax.store.samples import LATER, large, pack, pack_sample, survives, unpack, unpack_sample

MissedT = TypeVar("MissedT", float, Tensor)

TENSORS = ("u", "digest", "score", "plausibility", "toll", "alike", "violation", "fine")
"""Fields of a chunk that are packed together."""


BELOW = -1e30
"""Merit of the best sample that misses a constraint."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one round's proposal, evaluated together.

    Attributes:
        round: number of the proposal; -1 for the reference batch.
        offset: first row.
        first_id: running number of its first scored row in the run.
        score: values, empty where nothing was to be scored.
        u: whitened coordinates of the samples; None where they have none, such as perturbed samples and path points,
            or where there are too many of them to be written down.
        digest: a checksum a row (n,) that tells the points apart, where there is no u.
        wide: whether the samples have coordinates, and these are too many.
        plausibility: of the points with coordinates.
        toll: what the guard takes off the score that the method is told, where it does.
        alike: a number a sample that equal ones share, 0 where it has none; None where no two can be equal.
        violation: by how much samples miss the constraints, in spreads of these; None where there are none.
        fine: what that, and the weights of goals, take off the score that the method is told.
        parts: value of each term of a combined score.
        grad: gradient or product.
        failures: reason by row.
        ledger: cost of the run once they were done.
        whys: what was said of a row beside its number, where anything was.
    """

    round: int
    offset: int
    first_id: int
    score: Tensor
    u: Tensor | None = None
    digest: Tensor | None = None
    plausibility: Tensor | None = None
    toll: Tensor | None = None
    alike: Tensor | None = None
    violation: Tensor | None = None
    fine: Tensor | None = None
    parts: dict[str, Tensor] = field(default_factory=dict)
    grad: Tensor | None = None
    failures: dict[int, str] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    wide: bool = False
    whys: dict[int, str] = field(default_factory=dict)

    @property
    def final(self) -> bool:
        """Whether the samples have coordinates, so that one of them may be a run's best."""
        return self.u is not None or self.wide

    def __len__(self) -> int:
        told_apart = self.digest if self.u is None else self.u
        return 0 if told_apart is None else len(told_apart)


@dataclass(frozen=True)
class Entry:
    """One sample worth keeping, with all that is known of it.

    Attributes:
        id: running number of its evaluation in the run.
        score: final value of S.
        plausibility: typicality under the prior, in [0, 1].
        held_out: value of the held-out score, None where none was given.
        realism: how usual the sample is among G's own, in [0, 1]; None where it was not measured.
        u: whitened coordinates (d,).
        z: latent as the generator takes it, without the batch dimension; a dict for several blocks.
        parts: value of each term of a combined score.
        sample: the sample itself.
        whole: whether that is what G made, not what is left of it in a file, such as its printed form.
        violation: by how much it misses the constraints, in spreads of these over random samples; 0 where it meets all.
        why: what the score said of it beside its number, "" if it said nothing.
    """

    id: int
    score: float
    plausibility: float
    u: Tensor
    z: Tensor | dict[str, Tensor]
    sample: Sample
    parts: dict[str, float] = field(default_factory=dict)
    held_out: float | None = None
    realism: float | None = None
    whole: bool = True
    violation: float = 0.0
    why: str = ""

    @property
    def feasible(self) -> bool:
        """Whether it meets all constraints, as it does where there are none."""
        return self.violation == 0

    @property
    def merit(self) -> float:
        """What it is ranked by: its score; of one that misses a constraint, the less the more it does, below all."""
        return self.score if self.feasible else missed(self.violation)


@dataclass(frozen=True)
class Position:
    """Where a method stands before a round: the round, the id of its first evaluation, the serialised state."""

    round: int
    next_id: int
    state: bytes


def missed(violation: MissedT) -> MissedT:
    """Return the merit of a sample that misses its constraints by so much: below every score."""
    return BELOW * (1 + violation)


def sealed(*row: Any) -> tuple[Any, ...]:
    """Return a row with a checksum behind it."""
    return *row, _checksum(row)


def opened(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row without its checksum.

    Raises:
        ValueError: the checksum is another row's.

    Example:
        >>> opened(sealed(1, 2.5, "a", b"b", None))
        (1, 2.5, 'a', b'b', None)
    """
    *values, checksum = row
    if checksum != _checksum(values):
        raise ValueError("the checksum does not fit")
    return tuple(values)


def _checksum(row: Sequence[Any]) -> int:
    total = 0
    for part in row:
        value = part + 0.0 if isinstance(part, float) else part  # SQLite knows no minus zero
        total = zlib.crc32(value if isinstance(value, bytes) else repr(value).encode(), total)
    return total


def written(text: str) -> Tensor:
    """Return a text as a tensor of bytes.

    Example:
        >>> read(written("trüb"))
        'trüb'
    """
    return torch.frombuffer(bytearray(text.encode("utf-8", "surrogatepass")), dtype=torch.uint8)


def read(text: Tensor) -> str:
    """Return the text of a tensor of bytes."""
    return text.numpy().tobytes().decode("utf-8", "surrogatepass")


def chunk_row(chunk: Chunk) -> tuple[Any, ...]:
    """Return the row of a chunk; its gradient, which is dropped one day, has a checksum of its own."""
    given = {name: getattr(chunk, name) for name in TENSORS if getattr(chunk, name) is not None}
    given |= {"wide": torch.ones(1, dtype=torch.bool, device="cpu")} if chunk.wide else {}
    given |= {"whys": written(json.dumps(chunk.whys))} if chunk.whys else {}
    data = pack(given | {f"part.{name}": value for name, value in chunk.parts.items()})
    grad = None if chunk.grad is None else pack({"grad": chunk.grad})
    failures, ledger = json.dumps(chunk.failures), json.dumps(vars(chunk.ledger))
    checked = sealed(chunk.round, chunk.offset, chunk.first_id, data, failures, ledger)
    return *checked, grad, None if grad is None else _checksum([grad])


def read_chunk(row: tuple[Any, ...]) -> Chunk:
    """Return the chunk of a row."""
    round_, offset, first_id, data, failures, ledger = opened(row[:-2])
    grad = None if row[-2] is None else opened(row[-2:])[0]
    tensors = unpack(data)
    wide, words = tensors.pop("wide", None) is not None, tensors.pop("whys", None)
    return Chunk(
        round=round_,
        offset=offset,
        first_id=first_id,
        parts={name[5:]: tensors.pop(name) for name in list(tensors) if name.startswith("part.")},
        grad=None if grad is None else unpack(grad)["grad"],
        failures={int(i): reason for i, reason in json.loads(failures).items()},
        ledger=Ledger(**json.loads(ledger)),
        wide=wide,
        whys={} if words is None else {int(i): why for i, why in json.loads(read(words)).items()},
        **tensors,
    )


def _beside(u: Tensor, blocks: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return latents as they are written down: where they are the values of u in order, their shapes alone."""
    flat = torch.cat([z.flatten() for z in blocks.values()])
    if flat.dtype != u.dtype or not torch.equal(flat, u):
        return {f"z.{name}": z for name, z in blocks.items()}
    numbered = enumerate(blocks.items())
    return {f"shape.{i:03}.{name}": torch.tensor(z.shape, dtype=torch.int64, device="cpu") for i, (name, z) in numbered}


def _parts(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the latents of which the shapes alone were written down."""
    shapes = {name.split(".", 2)[2]: tensors[name].tolist() for name in sorted(tensors) if name.startswith("shape.")}
    parts = tensors["u"].split([math.prod(shape) for shape in shapes.values()])
    return {name: part.reshape(shape).clone() for part, (name, shape) in zip(parts, shapes.items(), strict=True)}


def stored(value: float | None) -> float | str | None:
    """Return a number as SQLite keeps it, which would make NaN a NULL."""
    return None if value is None else float(value) if math.isfinite(value) else str(float(value))


def entry_row(role: str, entry: Entry, *, later: bool = False) -> tuple[Any, ...]:
    """Return the row of an entry that is kept in that role; where it can wait, without its sample if that is large."""
    blocks = entry.z if isinstance(entry.z, dict) else {"": entry.z}
    missed_by = {} if entry.feasible else {"violation": torch.tensor([entry.violation], dtype=torch.float64)}
    words = {"why": written(entry.why)} if entry.why else {}
    latent = pack({"u": entry.u, **_beside(entry.u, blocks), **missed_by, **words})
    kind, sample = (LATER, b"") if later and large(entry.sample) else pack_sample(entry.sample)
    whole = kind != LATER and entry.whole and survives(entry.sample, kind, sample)
    numbers = entry.id, float(entry.score), float(entry.plausibility), stored(entry.held_out)
    return sealed(role, *numbers, latent, json.dumps(entry.parts), kind, sample, int(whole))


def read_entry(row: tuple[Any, ...]) -> Entry:
    """Return the entry of a row."""
    _, identity, score, plausibility, held_out, latent, parts, kind, sample, whole = opened(row)
    tensors = unpack(latent)
    z = {name[2:]: value for name, value in tensors.items() if name.startswith("z.")} or _parts(tensors)
    return Entry(
        id=identity,
        score=score,
        plausibility=plausibility,
        u=tensors["u"],
        z=z.get("", z),
        sample=unpack_sample(kind, sample),
        parts=json.loads(parts),
        held_out=None if held_out is None else float(held_out),
        whole=bool(whole),
        violation=float(tensors.get("violation", 0.0)),
        why=read(tensors["why"]) if "why" in tensors else "",
    )
