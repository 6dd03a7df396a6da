"""Samples of a conditioned generator as they are asked for, beside what its calibration had said of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zmax.cli.asking import condition_in, folder_of, held
from zmax.cli.folders import claimed
from zmax.cli.output import emit, only_stderr
from zmax.core.errors import InputError

if TYPE_CHECKING:
    from zmax.results import ConditionResult
    from zmax.run.asked import Asked

DRAWN = 16
"""Samples where no number is given."""


def draw(
    generator: str,
    ask: list[str] | None,
    away_from: list[str] | None,
    guidance: float,
    of: int,
    *,
    score_calls: int | None,
    seed: int,
    batch_size: int,
    device: str,
    out: Path | None,
    json: bool,
    **others: Any,
) -> int:
    """Draw samples, score them, write them into a folder, and print what came beside what was asked.

    Args:
        generator: the name of a conditioned generator.
        ask, away_from, guidance, of: the request, and candidates for each sample.
        score_calls: number of samples.
        seed: of their noises.
        batch_size: samples decoded and scored together.
        device: where the generator runs.
        out: the folder; a new one under `runs` by default.
        json: print one JSON object.
        others: settings of runs, of which there is none here.

    Returns:
        The exit code.
    """
    from zmax.generators.requests import request_of
    from zmax.report.export import export_entries
    from zmax.run import asked

    name = held(generator, ask, away_from, guidance, of)
    if name == generator:
        raise InputError("zmax sample", expected="a score, -s S; or a request of conditioned:RUN, --ask S", got="none")
    result, wanted = condition_in(folder_of(name)), request_of(ask or [])
    away = request_of(away_from) if away_from else None
    with only_stderr(json), claimed(out, [name]) as folder:
        settings: dict[str, Any] = {"of": of, "seed": seed, "batch_size": batch_size, "device": device}
        found = asked.draw(result, score_calls or DRAWN, wanted, away_from=away, guidance=guidance, **settings)
        named = [(f"{entry.id + 1:02d}", entry) for entry in found.entries]
        export_entries(named, result.spec.modality, folder)
    rows = list(told(result, found, guidance))
    if json:
        told_of = {"outside": found.outside, "ledger": asdict(found.ledger), "samples": str(folder)}
        emit({"generator": name, "scores": rows} | told_of)
    else:
        show(name, rows, found, folder)
    return 0


def told(result: ConditionResult, found: Asked, guidance: float) -> Iterator[dict[str, Any]]:
    """Give of each score what was asked, what the calibration had said would come, and what came."""
    known = {one.name: one for one in result.calibrations if one.guidance == guidance}
    for j, name in enumerate(found.names):
        value, one = found.wanted[j], known.get(name)
        came = [v for v in found.achieved[:, j].tolist() if math.isfinite(v)]
        row = {"score": name, "asked": value, "achieved": came}
        row["mean"] = statistics.fmean(came) if came else math.nan
        if one is not None and math.isfinite(value):
            low, high = one.interval(value)
            row |= {"expected": one.mean(value), "from": low, "to": high, "trusted": one.trusted}
            row["inside"] = sum(low <= v <= high for v in came)
        yield row


def show(name: str, rows: list[dict[str, Any]], found: Asked, folder: Path) -> None:
    """Print the table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(name, markup=False, style="bold", soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("score", "asked", "expected", "90 % interval", "mean of what came", "inside", "range to trust"):
        table.add_column(heading, justify="left" if heading == "score" else "right")
    for row in rows:
        n = len(row["achieved"])
        cells = [row["score"], _number(row["asked"]), "-", "-", _number(row["mean"]), "-", "-"]
        if "expected" in row:
            trusted = row["trusted"]
            cells[2:4] = _number(row["expected"]), f"{_number(row['from'])} to {_number(row['to'])}"
            cells[5:] = (
                f"{row['inside']} of {n}",
                f"{_number(trusted[0])} to {_number(trusted[1])}" if trusted else "none",
            )
        table.add_row(*cells)
    console.print(table)
    ledger = found.ledger
    console.print(f"cost       {ledger.score_calls:,} score calls, {ledger.nfe:,} NFE, {ledger.seconds:.1f} s")
    console.print(f"samples    {folder}", markup=False, soft_wrap=True)


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "-"
