"""The best samples as files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from zmax.core.errors import InputError, StoreError
from zmax.report.cards import printed
from zmax.report.files import as_files
from zmax.report.tuning.pairs import known
from zmax.results.conditioning import ASKED, ConditionResult
from zmax.results.result import Result
from zmax.results.tuning import TuneResult
from zmax.store import Entry

TEXTS, WHYS = "samples.txt", "whys.txt"

LIST = ".samples"
"""The file in which an export names those that it wrote, which the next one replaces."""


def export_samples(result: Result | TuneResult, folder: str | Path) -> list[Path]:
    """Write the leaders, a front, or the draws of `sample` as files, in order; what an earlier export left is replaced.

    Of a finetune, fresh samples of the parent and, of the same noises, of the child, unless that is the parent; of a
    condition, samples at nine levels of what was asked.

    Args:
        result: a run.
        folder: where to; made if it does not exist.

    Returns:
        The files: `01_<score>.png` and so on for images, `01_before_<score>.png` of a finetune,
        `01_asked_<request>_<score>.png` of a condition, enlarged by whole multiples of their pixels until no side is
        shorter than 256; `.wav` for audio, a `.png` a frame for video, `.npy` for other arrays, `.csv` for tables;
        `samples.txt` for vectors, texts and anything else; and `whys.txt` with what a score said beside its numbers.

    Raises:
        InputError: `folder` is a file.
        StoreError: the files cannot be written.
    """
    return export_entries(_named(result), result.spec.modality, folder)


def export_entries(named: Iterable[tuple[str, Entry]], modality: str, folder: str | Path) -> list[Path]:
    """Write samples as files whose names begin so; see :func:`export_samples`.

    Raises:
        InputError: `folder` is a file.
        StoreError: the files cannot be written.
    """
    path = Path(folder)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        got = "a link" if path.is_symlink() else "a file"
        raise InputError(f"cannot write samples to {str(folder)!r}", expected="a folder", got=got)
    try:
        path.mkdir(parents=True, exist_ok=True)
        _forget(path)
        return _write(named, modality, path)
    except OSError as error:
        remedy = "free some space, or choose another folder"
        raise StoreError(f"samples cannot be written to {str(folder)!r}: {error}", remedy=remedy) from error


def _forget(folder: Path) -> None:
    """Delete what an earlier export wrote, and nothing else."""
    manifest = folder / LIST
    if manifest.is_file() and not manifest.is_symlink():
        for name in manifest.read_text(encoding="utf-8").splitlines():
            if name == Path(name).name:
                (folder / name).unlink(missing_ok=True)
    manifest.unlink(missing_ok=True)


def _write(named: Iterable[tuple[str, Entry]], modality: str, folder: Path) -> list[Path]:
    written, texts, whys = [], [], []
    for name, entry in named:
        whys += [f"# {name}  {_numbers(entry)}\n{entry.why}\n"] if entry.why else []
        files = as_files(entry.sample, modality)
        for ending, data in files.items():
            written.append(_put(folder / f"{name}_{entry.score:.6g}{ending}", data))
        if not files:
            texts.append(f"# {name}  {_numbers(entry)}\n{printed(entry.sample)}\n")
    for file, lines in {TEXTS: texts, WHYS: whys}.items():
        if lines:
            written.append(_put(folder / file, "\n".join(lines).encode()))
    _put(folder / LIST, "".join(f"{file.name}\n" for file in written).encode())
    return written


def _put(file: Path, data: bytes) -> Path:
    """Write a file, in place of a link of that name."""
    if file.is_symlink():
        file.unlink()
    file.write_bytes(data)
    return file


def _named(result: Result | TuneResult) -> Iterator[tuple[str, Entry]]:
    """Give the samples with what their files' names begin with."""
    if isinstance(result, Result):
        for rank, entry in enumerate(result.draws or result.front or result.leaders, start=1):
            yield f"{rank:02d}", entry
        return
    if isinstance(result, ConditionResult):
        for entry in result.asked:
            wanted = [value for name, value in entry.parts.items() if name.startswith(f"{ASKED} ")]
            yield f"{entry.id + 1:02d}_asked_{'_'.join(f'{value:.4g}' for value in wanted)}", entry
        return
    sides = {"before": 0, "after": result.chosen} if result.chosen else {"before": 0}
    for side, number in sides.items():
        for look in result.rounds.looks[number : number + 1]:
            for entry in known(look, result.entries(number)):
                yield f"{entry.id + 1:02d}_{side}", entry


def _numbers(entry: Entry) -> str:
    words = [f"score {entry.score:.6g}", f"plausibility {entry.plausibility:.3g}"]
    if entry.realism is not None:
        words.append(f"realism {entry.realism:.3g}")
    if entry.held_out is not None:
        words.append(f"held-out {entry.held_out:.6g}")
    return "  ".join(words)
