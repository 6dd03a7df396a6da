"""What a run was started with, so that it goes on with the same: code, weights, versions, and a score it gave."""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zmax.core.budget import Budget, Ledger
from zmax.core.errors import StoreError
from zmax.core.generator import Generator
from zmax.core.imports import looks_like_import
from zmax.core.proposal import Latents, Proposal
from zmax.core.score import Score
from zmax.run.evaluator import Evaluator
from zmax.store import REFERENCE, Journal

MOST = 2**16
"""Values of a tensor that its checksum looks at."""

CLOSE, SHARE = 1e-3, 0.01
"""How far a score may be off on another machine: in shares of itself, and of the spread of the reference scores."""

_WORD = re.compile(r"'[^']+'|\"[^\"]+\"|[^\s()*,+'\"]+")


def identity(generator: Generator, score: Score, held_out: Score | None) -> dict[str, Any]:
    """Return what tells these parts, and the software, from others."""
    parts: dict[str, Generator | Score] = {"generator": generator, "score": score}
    if held_out is not None:
        parts["held-out score"] = held_out
    made = {name: {"files": sums(part.source), "weights": weights_sum(part.networks)} for name, part in parts.items()}
    return {"parts": made, "zmax": version("zmax"), "torch": str(torch.__version__)}


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs, in words; nothing where it is not known what was."""
    versions = [name for name in ("zmax", "torch") if then.get(name, now[name]) != now[name]]
    found = [f"{name} {then[name]} is now {now[name]}" for name in versions]
    for name, was in then.get("parts", {}).items():
        known = now["parts"].get(name, {"files": {}, "weights": None})
        for file, total in was["files"].items():
            if known["files"].get(file, _sum(file)) != total:
                found.append(f"{file} of the {name}")
        if was["weights"] != known["weights"]:
            found.append(f"the weights of the {name}")
    return found


def code(*specs: str | None) -> list[str]:
    """Return which words of specifications name Python code, which is run when they are loaded.

    Example:
        >>> code("my_model.py:G", "0.5*my_score.py:S + brightness", None)
        ['my_model.py:G', 'my_score.py:S']
    """
    return [word for spec in specs for word in _words(spec or "") if looks_like_import(word)]


def sums(spec: str) -> dict[str, int | None]:
    """Return a checksum of every file that a specification names, and of what those import from beside them."""
    found: dict[str, int | None] = {}
    for word in _words(spec):
        place = word.rpartition(":")[0]
        for name in (word, place, word.partition(":")[2].partition("?")[0]):
            if name and Path(name).expanduser().is_file():
                found[name] = _sum(name)
        module = sys.modules.get(place)
        if module is not None and "." in place and not place.startswith("zmax.") and module.__file__:
            found[place] = _sum(module.__file__)
        if place.endswith(".py"):
            found |= {name: _sum(name) for name in _beside(Path(place).expanduser())}
    return found


def weights_sum(networks: Iterable[nn.Module]) -> int | None:
    """Return a checksum of weights, of large tensors of values evenly spaced; None where they cannot be read."""
    total = 0
    try:
        for network in networks:
            for name, weight in network.state_dict().items():
                values = weight.detach().flatten()
                values = values[:: 1 + len(values) // MOST].cpu().contiguous()
                total = zlib.crc32(f"{name} {tuple(weight.shape)} {weight.dtype}".encode(), total)
                total = zlib.crc32(values.view(torch.uint8).numpy().tobytes(), total)
    except (RuntimeError, TypeError, AttributeError, NotImplementedError):  # weights that are no plain numbers
        return None
    return total


def require_same(
    journal: Journal, generator: Generator, score: Score, held_out: Score | None, *, accept: bool
) -> list[str]:
    """Refuse to go on with other parts than a run was started with; return what changed, where that is accepted.

    A sample of the reference is decoded and scored again, without charge, unless S is noisy. Where the run had failed,
    the files of its parts may have changed, since they were to be mended, as long as that sample's score did not.

    Raises:
        StoreError: something changed; the message says what.
    """
    _same_shape(journal, generator)
    then, now = journal.get("identity", {}), identity(generator, score, held_out)
    found = changes(then, now)
    other = "" if score.noisy else _rescored(journal, Evaluator(generator, score, Ledger(), Budget(1)), keep=accept)
    if other or (found and not journal.get("failed")):
        found += [other] if other else []
        if not accept:
            raise StoreError(
                "the run would not go on as it began: something changed",
                expected="code, weights and versions as they were",
                got="; ".join(found),
                remedy="bring it back, or go on with what is there: zmax resume --accept-changes, accept_changes=True; "
                "another score or generator is for a new run that begins at the best of this one: start=, --start",
            )
    if found:
        journal.put_facts({"identity": now})
    return found


def _same_shape(journal: Journal, generator: Generator) -> None:
    """Refuse a generator of another number of latent dimensions, which nothing can accept.

    Raises:
        StoreError: it is one.
    """
    first = journal.find(REFERENCE, 0)
    if first is not None and first.u is not None and first.u.shape[1] != generator.space.dim:
        raise StoreError(
            f"the run is of another generator than {generator.name!r}",
            expected=f"{first.u.shape[1]} latent dimensions",
            got=generator.space.dim,
            remedy="begin a new run at its best: zmax.maximize(..., start=folder), --start",
        )


def _rescored(journal: Journal, evaluator: Evaluator, *, keep: bool) -> str:
    """Score a sample of the reference again and say how it changed, "" if it did not; the new one may be kept."""
    first = journal.find(REFERENCE, 0)
    if first is None or first.u is None:
        return ""
    alive = first.score[torch.isfinite(first.score)]
    row = int(torch.isfinite(first.score).nonzero()[0])
    batch = evaluator.evaluate(Proposal(Latents(first.u[row : row + 1])))
    was, now = journal.get("score accepted", float(first.score[row])), float(batch.score[0])
    spread = float(alive.double().std()) if len(alive) > 1 else 0.0
    if batch.failures and journal.get("failed"):
        return ""  # it fails as it did
    if abs(now - was) <= CLOSE * abs(was) + SHARE * spread:
        return ""
    if keep:
        journal.set("score accepted", now)
    return f"the score of sample {first.first_id + row}, {was:.6g}, is now {batch.failures.get(0, f'{now:.6g}')}"


def _words(spec: str) -> list[str]:
    return [word.strip("'\"") for word in _WORD.findall(spec)]


def _beside(file: Path) -> list[str]:
    """Return what was imported from the folder of a file, as paths like its own."""
    home, found = file.resolve().parent, []
    for module in list(sys.modules.values()):
        path = Path(getattr(module, "__file__", None) or "")
        if path.suffix == ".py" and path.is_file() and path.is_relative_to(home) and "site-packages" not in path.parts:
            found.append(str(file.parent / path.relative_to(home)))
    return found


def _sum(file: str) -> int | None:
    try:
        return zlib.crc32(Path(file).expanduser().read_bytes())
    except OSError:
        return None
