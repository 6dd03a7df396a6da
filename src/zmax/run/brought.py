"""What a user brings to begin at, told apart: latents, samples, a run, a frame or file of latents with their scores."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zmax.core.errors import InputError
from zmax.core.generator import Generator
from zmax.core.samples import Samples, describe, stack
from zmax.core.space import LatentValue, Space
from zmax.results.result import Result, load_result
from zmax.run.given import IMAGES, csv_table, numbers, parquet_table, pixels, scaled
from zmax.scores.target import read_picture
from zmax.store import holds_run

FORMS = (
    "latents z, samples, a result or the folder of a run, a picture's file, a pair (z, score), or a frame, CSV or "
    "Parquet file of latents and scores"
)
KEYS = {"u", "z", "samples", "score"}
COLUMN = re.compile(r"(.+)\[(\d+)\]")
"""How a table names the coordinates of latents."""


@dataclass(frozen=True)
class Brought:
    """What to begin at, in one or more of three forms, best first where that is known.

    Attributes:
        u: whitened coordinates (n, d).
        z: latents.
        x: samples.
        score: of each, where they were scored before.
        said: what it is, in words.
    """

    u: Tensor | None = None
    z: Any = None
    x: Samples | None = None
    score: Tensor | None = None
    said: str = ""


def brought(start: Any, space: Space, shown: Samples) -> Brought:
    """Read what a user gives as a start.

    Args:
        start: see `zmax.maximize`.
        space: of the generator's latents.
        shown: a few of its samples.

    Raises:
        InputError: it is none of the forms, or could be two of them.
    """
    if isinstance(start, Result):
        return _leaders(start)
    if isinstance(start, (str, Path)):
        return _file(Path(start).expanduser(), space)
    if hasattr(start, "columns") and hasattr(start, "to_numpy"):
        return _table({str(name): start[name].to_numpy() for name in start.columns}, space, "a frame")
    if isinstance(start, tuple) and len(start) == 2:
        return _pairs({"z": start[0], "score": start[1]}, space)
    if isinstance(start, Mapping) and ("score" in start or len(KEYS & set(start)) == 1):
        return _pairs(start, space)
    if isinstance(start, Image.Image):
        start = scaled(pixels(start))
    return _told_apart(start, space, shown)


def _leaders(result: Result) -> Brought:
    entries = result.front or result.leaders
    if not entries:
        raise InputError("start=", expected="a run with samples that got a score", got=repr(result))
    z = [entry.z for entry in entries]
    blocks: Any = {name: torch.stack([one[name] for one in z]) for name in z[0]} if isinstance(z[0], dict) else None  # type: ignore[index]
    said = f"the best {counted(len(entries), 'sample')} of {result.folder or f'a run of {result.spec.method}'}"
    return Brought(z=blocks or torch.stack(z), x=stack([entry.sample for entry in entries]), said=said)  # type: ignore[arg-type]


def _file(path: Path, space: Space) -> Brought:
    """Read the folder of a run, a picture, or a table.

    Raises:
        InputError: it is none of these.
    """
    kind = path.suffix.lower()
    if holds_run(path):
        result = load_result(path)
        if isinstance(result, Result):
            return _leaders(result)
        raise InputError(f"start={str(path)!r}", expected="a run of maximize or sample", got=f"a {result.spec.verb}")
    if not path.is_file():
        raise InputError(f"start={str(path)!r}", expected="a folder of a run, a picture or a table", got="no such file")
    if kind in IMAGES:
        return Brought(x=read_picture(path).float(), said=f"the picture {path.name}")
    if kind not in (".csv", ".parquet"):
        raise InputError(f"start={str(path)!r}", expected=f"a run, .csv, .parquet or {', '.join(sorted(IMAGES))}")
    return _table(csv_table(path) if kind == ".csv" else parquet_table(path), space, path.name)


def _table(columns: Mapping[str, Any], space: Space, what: str) -> Brought:
    """Read columns u[0], u[1], ... or those of the latent blocks, as z[0], and a column "score" if there is one.

    Raises:
        InputError: some of them are missing, or no row is whole.
    """
    sizes = {block.name: math.prod(block.latent) for block in space.blocks}
    whitened = any(name.startswith("u[") for name in columns) and "u" not in sizes
    wanted = {"u": space.dim} if whitened else sizes
    names = [f"{name}[{i}]" for name, size in wanted.items() for i in range(size)]
    extra = [name for name in columns if (found := COLUMN.fullmatch(name)) and found[1] in wanted and name not in names]
    missing = [name for name in names if name not in columns]
    if missing or extra:
        expected = ", ".join(f"{name}[0] to {name}[{size - 1}]" for name, size in wanted.items())
        got = f"no {missing[0]!r}" if missing else f"{extra[0]!r} beside them"
        raise InputError(f"columns of {what} in start=", expected=f"{expected}, and score", got=got)
    values = torch.from_numpy(np.stack([_numbers(columns[name]) for name in names], 1))
    score = torch.from_numpy(_numbers(columns["score"])) if "score" in columns else None
    whole = values.isfinite().all(1) if score is None else values.isfinite().all(1) & score.isfinite()
    if not bool(whole.any()):
        raise InputError(f"rows of {what} in start=", expected="latents and scores that are finite", got="none")
    values, score = values[whole].float(), None if score is None else score[whole]
    said = f"{counted(len(values), 'latent')} of {what}"
    if whitened:
        return Brought(u=values, score=score, said=said)
    parts = values.split(list(sizes.values()), dim=1)
    z = {b.name: part.reshape(-1, *b.latent) for b, part in zip(space.blocks, parts, strict=True)}
    return Brought(z=z if len(z) > 1 else values.reshape(-1, *space.blocks[0].latent), score=score, said=said)


def _numbers(values: Any) -> Any:
    """Return a column as numbers, NaN where there is none."""
    return np.array([float("nan") if value in ("", None) else float(value) for value in values], dtype=np.float64)


def _pairs(given: Mapping[str, Any], space: Space) -> Brought:
    """Read latents or samples under a key, and their scores if there are any.

    Raises:
        InputError: there are several forms at once, or not as many scores as points.
    """
    forms = [key for key in given if key != "score"]
    if len(forms) != 1 or set(given) - KEYS:
        raise InputError("keys of start=", expected="one of u, z and samples, and perhaps score", got=", ".join(given))
    key, value = forms[0], given[forms[0]]
    points = {name: tensor(part) for name, part in value.items()} if isinstance(value, Mapping) else tensor(value)
    n = len(next(iter(points.values()))) if isinstance(points, dict) else len(points)
    score = None if "score" not in given else tensor(given["score"]).double().flatten()
    if score is not None and (len(score) != n or not bool(score.isfinite().any())):
        got = f"{len(score)}, {int(score.isfinite().sum())} of them finite"
        raise InputError("scores of start=", expected=f"one for each of {n} points", got=got)
    if score is not None and not bool(score.isfinite().all()):
        keep = score.isfinite()
        points = {k: p[keep] for k, p in points.items()} if isinstance(points, dict) else points[keep]
        n, score = int(keep.sum()), score[keep]
    said = counted(n, "sample" if key == "samples" else "latent") + ("" if score is None else " with known scores")
    return Brought(**{"x" if key == "samples" else key: points}, score=score, said=said)  # type: ignore[arg-type]


def _told_apart(start: Any, space: Space, shown: Samples) -> Brought:
    """Tell latents from samples by their shapes.

    Raises:
        InputError: neither fits, or both do.
    """
    if isinstance(start, Mapping):
        z = {name: tensor(part) for name, part in start.items()}
        return Brought(z=z, said=counted(len(next(iter(z.values()))), "latent") if z else "")
    value, shape = tensor(start), space.blocks[0].latent
    own = tuple(shown.shape[1:]) if isinstance(shown, Tensor) else None
    latent = len(space.blocks) == 1 and shape in (tuple(value.shape), tuple(value.shape[1:]))
    sample = own is not None and own in (tuple(value.shape), tuple(value.shape[1:]))
    if latent == sample:
        remedy = 'say which: start={"z": ...} or start={"samples": ...}' if latent else f"start= takes {FORMS}"
        thing = "start= could be latents or samples" if latent else "start= is neither latents nor samples"
        samples = "" if own is None else f" or samples {('n', *own)}"
        expected = None if latent else f"latents {('n', *shape)}{samples}"
        raise InputError(thing, expected=expected, got=describe(start), remedy=remedy)
    one = tuple(value.shape) == (shape if latent else own)
    value = value[None] if one else value
    return Brought(**{"z" if latent else "x": value}, said=counted(len(value), "latent" if latent else "sample"))


def counted(n: int, noun: str) -> str:
    """Return a number of things in words.

    Example:
        >>> counted(1, "sample"), counted(3, "latent")
        ('1 sample', '3 latents')
    """
    return f"{n} {noun}{'' if n == 1 else 's'}"


def tensor(values: Any) -> Tensor:
    """Return numbers as a tensor on the CPU, bytes as shares of 255.

    Raises:
        InputError: they are no numbers.
    """
    return scaled(numbers(values, "start=", FORMS))


def whitened(found: Brought, generator: Generator) -> Tensor | None:
    """Return whitened coordinates of the latents where they are those of the generator, else None."""
    space = generator.space
    if found.u is not None:
        space.check(found.u)
        return found.u.float()
    try:
        z: LatentValue = space.batch(found.z) if found.z is not None else {}
        return None if found.z is None else space.whiten(z).float().cpu()
    except InputError:
        return None
