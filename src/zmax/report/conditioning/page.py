"""One self-contained HTML page about a condition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zmax.report import sentences
from zmax.report.cards import Card, cards, vector_limit
from zmax.report.conditioning.panels import panels
from zmax.report.conditioning.verdict import judge
from zmax.report.sentences import brief, figure
from zmax.report.sheet import Tile, common, place, put, rendered
from zmax.report.tuning.page import descent_rows, table
from zmax.results.calibration import LEVEL, Calibration
from zmax.results.conditioning import ASKED, ConditionResult

LEVELS = 9
"""Levels of what was asked at which samples are shown."""

COLUMNS = {
    "updates": "updates",
    "score_calls": "calls",
    "off": "off by",
    "p50": "median",
    "score": "mean",
    "held_out": "held-out",
    "natural": "natural",
    "distance": "distance",
    "vendi": "Vendi",
    "moved": "weights moved",
    "slope": "gradient",
}
"""Numbers of the table of looks, and their heads."""


@dataclass(frozen=True)
class Sample:
    """A sample that was asked for: how it is shown, and of each score its name, the request and what came."""

    card: Card
    pairs: tuple[tuple[str, float, float], ...]


def write_conditioning(result: ConditionResult, path: str | Path) -> Path:
    """Write the page of a condition: HTML with style, pictures and figures inside, and nothing to fetch.

    The page says whether what comes is near what was asked and which requests to trust, shows samples at nine levels of
    what was asked, draws achieved against requested scores with intervals, and gives self-checks, ledger, settings
    and the command that repeats it. Unfinished and failed runs have a page too.

    Args:
        result: the condition.
        path: the file; its folders are made, and an older page is replaced whole.

    Returns:
        The file written.

    Raises:
        InputError: `path` is a folder.
        StoreError: the file cannot be written.
    """
    return put(place(path), render(result))


def render(result: ConditionResult) -> str:
    """Return the page as text."""
    return rendered("conditioning.html.j2", context(result))


def context(result: ConditionResult) -> dict[str, Any]:
    """Return all that the template shows."""
    shared = common(result, result.failures)
    return {
        **shared,
        "lede": lede(result),
        "tiles": tiles(result),
        "outcome": judge(result),
        "levels": levels(result),
        "panels": panels(result),
        "calibrations": calibration_table(result.calibrations),
        "looks": table(result.rounds.looks, COLUMNS),
        "scores": result.spec.scores,
        "settings": [*shared["settings"], *descent_rows(result)],
    }


def lede(result: ConditionResult) -> str:
    """Say in a sentence what the condition reached."""
    calls, time = f"{result.ledger.score_calls:,} score calls", sentences.duration(result.ledger.seconds)
    start = f"In {calls} and {time}, {result.spec.method}"
    if not result.learned:
        return f"{start} had not yet scored what it is to learn from."
    start += f" learned from {result.learned:,} scored samples what to make of a request"
    plain = [one for one in result.calibrations if not one.guidance]
    if not plain:
        return f"{start}; requests were not compared with what comes."
    off = " and ".join(figure(one.label_score, 2) for one in plain)
    return f"{start}: what comes is {off} standard deviations of the data from what was asked, on average."


def tiles(result: ConditionResult) -> list[Tile]:
    """Return the main figures, of the first two scores."""
    plain = [one for one in result.calibrations if not one.guidance]
    made = []
    for one in plain[:2]:
        of = f", {one.name}" if len(plain) > 1 else ""
        low, high = one.trusted or (math.nan, math.nan)
        made.append(Tile(f"Label Score{of}", one.label_score, figure(one.label_score, 2), "mean error in deviations"))
        made.append(Tile(f"Rank correlation{of}", one.rho, figure(one.rho, 3), "of requests and what came"))
        data = f"data {figure(one.lowest, 3)} to {figure(one.highest, 3)}"
        words = "none" if one.trusted is None else f"{figure(low, 3)} to {figure(high, 3)}"
        made.append(Tile(f"Range to trust{of}", low if one.trusted else None, words, data))
    learned = float(result.learned)
    made.append(Tile("Learned from", learned, f"{result.learned:,}", "scored samples"))
    calls, time = result.ledger.score_calls, sentences.duration(result.ledger.seconds)
    return [*made, Tile("Score calls", float(calls), f"{calls:,}", f"in {time}")]


def levels(result: ConditionResult) -> list[list[Sample]]:
    """Return the samples that were asked for, level by level from the lowest request on."""
    entries, limit = result.asked, vector_limit(result.asked)
    shown = [card for i, e in enumerate(entries) for card in cards([e], f"Sample {i + 1},", result.spec, limit)]
    samples = [Sample(card, _pairs(card)) for card in shown]
    return [[samples[i] for i in part] for part in np.array_split(np.arange(len(samples)), LEVELS) if len(part)]


def calibration_table(found: Sequence[Calibration]) -> dict[str, list[Any]]:
    """Return heads and rows of all calibrations."""
    heads = ["guidance", "Label Score", "ρ", "spread at one request", "trusted from", "to", f"{LEVEL:.0%} interval"]
    heads += ["Fréchet distance", "of the data", "diversity"]
    rows = []
    for one in found:
        row, middle = one.row(), float(np.median(one.asked))
        low, high = one.interval(middle)
        numbers = [row[name] for name in ("label_score", "rho", "deviation", "trusted_from", "trusted_to")]
        shown = [brief(float(value)) for value in numbers]
        sets = [brief(value) for value in (one.frechet, one.frechet_data, one.diversity)]
        rows.append([one.name, f"{one.guidance:g}", *shown, f"± {brief((high - low) / 2)}", *sets])
    return {"heads": heads, "rows": rows}


def _pairs(card: Card) -> tuple[tuple[str, float, float], ...]:
    parts = card.entry.parts
    names = [name.removeprefix(f"{ASKED} ") for name in parts if name.startswith(f"{ASKED} ")]
    return tuple((name, parts[f"{ASKED} {name}"], parts.get(name, card.entry.score)) for name in names)
