"""Samples that a user brings to a condition, with or without their scores: arrays, data sets, folders of images."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from zmax.core.errors import CapabilityError, InputError, MissingExtraError
from zmax.core.generator import DiffusionGenerator, Generator
from zmax.core.proposal import Proposal, SamplesAt
from zmax.core.rng import stream
from zmax.core.samples import Samples, describe
from zmax.core.strategy import Need
from zmax.core.tuner import Lesson, Tuner
from zmax.generators.diffusion.affine import affine
from zmax.kit.asked import columns
from zmax.run.rounds import Rounds
from zmax.run.study import MANY, STUDY
from zmax.store import Journal
from zmax.store.samples import pack, unpack

BLOB = "data"
"""Where the journal keeps them."""

TABLES = (".csv", ".parquet")
IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
FORMS = (
    "samples, (samples, scores), a torch Dataset of either, a folder of images with a CSV or Parquet file of scores, "
    "or that file"
)


@dataclass(frozen=True)
class Given:
    """Samples, and their scores where they are known; samples without a score are left out where others have one.

    Attributes:
        x: the samples, as the score takes them.
        score: of each, a column for each score; None where they are still to be scored.
    """

    x: Float[Tensor, "n ..."]
    score: Float[Tensor, "n k"] | None

    def __str__(self) -> str:
        return f"{len(self.x):,} samples {'without' if self.score is None else 'with'} scores"

    def like(self, own: Samples) -> Given:
        """Return them in one channel where a generator's own samples have one, and theirs are equal."""
        grey = isinstance(own, Tensor) and own.ndim == self.x.ndim == 4 and own.shape[1] == 1 and self.x.shape[1] == 3
        return replace(self, x=self.x[:, :1]) if grey and bool((self.x == self.x[:, :1]).all()) else self

    def keep(self, journal: Journal) -> None:
        """Write them into a journal."""
        journal.put(BLOB, pack({"x": self.x} | ({} if self.score is None else {"score": self.score})), {})

    @classmethod
    def kept(cls, journal: Journal) -> Given | None:
        """Return what a journal keeps, None where it keeps none."""
        blob = journal.blob(BLOB)
        found = {} if blob is None else unpack(blob)
        return None if blob is None else cls(found["x"], found.get("score"))


def given(data: Any, names: Sequence[str]) -> Given:
    """Read what a user brings.

    Args:
        data: samples (n, ...) as a tensor or array, images of bytes or in [0, 1]; a pair of samples and scores: (n,),
            (n, k) or by name, as a mapping or a data frame; a torch Dataset of samples or of pairs, perhaps pictures of
            PIL; or a folder of images of one size, with a CSV or Parquet file whose first column names files and whose
            others are called as the scores are, or of which there is one; or that file, which names files beside it.
        names: of the scores.

    Raises:
        InputError: it is none of these, or samples and scores do not fit.
        MissingExtraError: a Parquet file, and `pyarrow` is not installed.
    """
    if isinstance(data, (str, Path)):
        return _checked(*_pictured(Path(data), names), names)
    if isinstance(data, Dataset):
        return _checked(*_items(data, names), names)
    if isinstance(data, tuple) and len(data) == 2:
        return _checked(_tensor(data[0]), _columns(data[1], names), names)
    return _checked(_tensor(data), None, names)


def lesson_of(
    brought: Given, rounds: Rounds, tuner: Tuner[Any], parent: Generator, names: Sequence[str], n: int, seed: int
) -> Lesson | None:
    """Return the lesson of what a user brings; without scores n of the samples are scored, or read back as journalled.

    None when the budget ends before.

    Raises:
        InputError: the method learns in the network's scale, which these samples cannot be brought into.
        CapabilityError: none of them has a score.
        FailedRunError: too large a share of the evaluations failed.
    """
    x, score = brought.x, brought.score
    if score is None:
        order = torch.randperm(len(x), generator=stream(seed, "lesson"), device="cpu")
        x = x[order[:n]]
        evaluation = rounds.evaluate(Proposal(SamplesAt(x)), STUDY, 0)
        if evaluation is None:
            return None
        score, x = columns(evaluation, names)[evaluation.ok], x[evaluation.ok]
    if not len(x):
        raise CapabilityError("a lesson", expected="samples with scores", got="failures alone")
    if Need.DENOISER not in tuner.needs:
        return Lesson(x, score, _encoded(parent, x, seed))
    found = affine(parent, x) if isinstance(parent, DiffusionGenerator) else None
    if found is None:
        raise InputError(
            "samples of data=",
            expected=f"the scale of {parent.name!r}, whose `finish` is affine in each value",
            got="a function that cannot be inverted",
            remedy="wrap the network without `finish`, and give data in the network's scale",
        )
    low, scale = (part.cpu() for part in found)
    return Lesson((x - low) / scale, score)


def _encoded(parent: Generator, x: Tensor, seed: int) -> Tensor | None:
    """Draw whitened coordinates of samples from what an autoencoder's encoder says of them; None without one."""
    if parent.encoder is None:
        return None
    with torch.no_grad():
        means, logs = (torch.cat(part).cpu() for part in zip(*map(parent.encoder, x.split(MANY)), strict=True))
    rng = stream(seed, "encoded")
    return means + (logs / 2).exp() * torch.randn(means.shape, generator=rng, device="cpu", dtype=means.dtype)


def _checked(x: Tensor, score: Tensor | None, names: Sequence[str]) -> Given:
    x = scaled(x)
    if x.ndim < 2 or not len(x) or not bool(x.isfinite().all()):
        raise InputError("samples of data=", expected="numbers of shape (n, ...), all finite", got=describe(x))
    if score is None:
        return Given(x.contiguous(), None)
    score = score.double().reshape(len(score), -1)
    if tuple(score.shape) != (len(x), len(names)):
        expected = f"({len(x)}, {len(names)}): a row for each sample, a column for each of {', '.join(names)}"
        raise InputError("scores of data=", expected=expected, got=tuple(score.shape))
    alive = score.isfinite().all(1)
    if not bool(alive.any()):
        raise InputError("scores of data=", expected="some that are finite", got="none")
    return Given(x[alive].contiguous(), score[alive].contiguous())


def _tensor(values: Any) -> Tensor:
    """Return samples as a tensor on the CPU.

    Raises:
        InputError: they are no numbers.
    """
    return pixels(values) if isinstance(values, Image.Image) else numbers(values, "data=", FORMS)


def numbers(values: Any, what: str, forms: str) -> Tensor:
    """Return numbers as a tensor on the CPU.

    Raises:
        InputError: they are no numbers; it says what they are called, and in which forms they may come.
    """
    try:
        return values.detach().cpu() if isinstance(values, Tensor) else torch.from_numpy(np.array(values))
    except (TypeError, ValueError) as error:
        raise InputError(what, expected=forms, got=describe(values)) from error


def scaled(x: Tensor) -> Tensor:
    """Return numbers in single precision, bytes as shares of 255."""
    return x.float() / 255 if x.dtype == torch.uint8 else x.float()


def _items(data: Dataset[Any], names: Sequence[str]) -> tuple[Tensor, Tensor | None]:
    """Return the samples of a torch Dataset, one with a length or one to iterate over, and their scores if it has any.

    Raises:
        InputError: it is empty, or its samples are of several shapes.
    """
    source: Any = data
    rows = list(source) if isinstance(data, IterableDataset) else [source[i] for i in range(len(source))]
    pairs = bool(rows) and all(isinstance(row, (tuple, list)) and len(row) == 2 for row in rows)
    parts = [_tensor(row[0] if pairs else row) for row in rows]
    shapes = sorted({tuple(part.shape) for part in parts})
    if len(shapes) != 1:
        raise InputError(
            "samples of data=", expected="some, of one shape", got=", ".join(map(str, shapes[:4])) or "none"
        )
    if not pairs:
        return torch.stack(parts), None
    known = [row[1] for row in rows]
    named = {name: [row[name] for row in known] for name in known[0]} if isinstance(known[0], Mapping) else None
    return torch.stack(parts), _columns(known if named is None else named, names)


def _columns(scores: Any, names: Sequence[str]) -> Tensor:
    """Return scores as a table (n, k)."""
    if type(scores).__name__ == "DataFrame":
        scores = {name: scores[name].to_numpy() for name in scores.columns}
    if not isinstance(scores, Mapping):
        return torch.stack([_tensor(row) for row in scores]) if isinstance(scores, list) else _tensor(scores)
    missing = [name for name in names if name not in scores]
    if missing:
        raise InputError("scores of data=", expected=f"those of {', '.join(missing)} too", got=", ".join(scores))
    return torch.stack([_tensor(scores[name]).double() for name in names], 1)


def _pictured(place: Path, names: Sequence[str]) -> tuple[Tensor, Tensor | None]:
    """Read a folder of images, those that the table of scores names where there is one; or what a table names."""
    if not place.is_dir() and not (place.is_file() and place.suffix.lower() in TABLES):
        expected = "a folder of images, or a CSV or Parquet file of their names and scores"
        raise InputError(f"data={str(place)!r}", expected=expected, got="another file" if place.exists() else "none")
    folder = place if place.is_dir() else place.parent
    tables = sorted(path for path in place.iterdir() if path.suffix.lower() in TABLES) if place.is_dir() else [place]
    if len(tables) > 1:
        raise InputError(f"data={str(folder)!r}", expected="one table", got=", ".join(path.name for path in tables))
    if not tables:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGES)
        return _pictures(files, folder), None
    table = csv_table(tables[0]) if tables[0].suffix.lower() == ".csv" else parquet_table(tables[0])
    first, *others = table
    columns = names if set(names) <= set(others) else others
    if len(columns) != len(names):
        raise InputError(
            f"columns of {tables[0].name!r}", expected=f"{first}, {', '.join(names)}", got=", ".join(table)
        )
    scores = torch.tensor([[_value(value) for value in table[name]] for name in columns], dtype=torch.float64).T
    return _pictures([folder / name for name in table[first]], folder), scores


def csv_table(file: Path) -> dict[str, list[str]]:
    """Read a CSV file with a line of names as columns of text.

    Raises:
        InputError: it holds no lines.
    """
    with file.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    if not rows:
        raise InputError(f"{file.name!r}", expected="a line of names, then the others", got="no such lines")
    return {name: [row[name] or "" for row in rows] for name in rows[0]}


def parquet_table(file: Path) -> dict[str, list[str]]:
    """Read a Parquet file as columns of text.

    Raises:
        MissingExtraError: `pyarrow` is not installed.
    """
    try:
        from pyarrow.parquet import read_table
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", f"{file.name!r}") from error
    return {name: [str(value) for value in column] for name, column in read_table(file).to_pydict().items()}


def _value(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _pictures(files: Sequence[Path], folder: Path) -> Tensor:
    """Read images of one size as bytes (n, 3, height, width)."""
    if not files:
        raise InputError(f"data={str(folder)!r}", expected="images", got="none")
    try:
        read = [_picture(file) for file in files]
    except OSError as error:
        raise InputError(f"an image of {str(folder)!r}", expected="one that can be read", got=error) from error
    sizes = sorted({tuple(pixels.shape[1:]) for pixels in read})
    if len(sizes) > 1:
        raise InputError(f"images in {str(folder)!r}", expected="one size", got=", ".join(map(str, sizes[:4])))
    return torch.stack(read)


def _picture(file: Path) -> Tensor:
    with Image.open(file) as image:
        return pixels(image)


def pixels(image: Image.Image) -> Tensor:
    """Return the bytes of a picture, (3, h, w)."""
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
