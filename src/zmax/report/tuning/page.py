"""One self-contained HTML page about a finetune."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zmax.report import measures, sentences
from zmax.report.sentences import Row, brief, figure, percent
from zmax.report.sheet import Tile, common, place, put, rendered
from zmax.report.tuning import verdict
from zmax.report.tuning.pairs import pairs, shown
from zmax.report.tuning.panels import panels
from zmax.results.looks import Look
from zmax.results.tuning import TuneResult

COLUMNS = {
    "score_calls": "calls",
    "updates": "updates",
    "p05": "p05",
    "p50": "median",
    "score": "mean",
    "held_out": "held-out",
    "kl": "KL",
    "natural": "natural",
    "distance": "distance",
    "vendi": "Vendi",
    "moved": "weights moved",
    "slope": "gradient",
}
"""Numbers of the table of looks, and their heads."""


def write_tuning(result: TuneResult, path: str | Path) -> Path:
    """Write the page of a finetune: HTML with style, pictures and figures inside, and nothing to fetch.

    The page says what fresh samples of the child are like beside the parent's of the same noises, draws the curve
    and the frontier of gain against KL to the parent, asks whether the score is being fooled, and gives self-checks,
    ledger, settings and the command that repeats it. Unfinished and failed finetunes have a page too.

    Args:
        result: the finetune.
        path: the file; its folders are made, and an older page is replaced whole.

    Returns:
        The file written.

    Raises:
        InputError: `path` is a folder.
        StoreError: the file cannot be written.

    Example:
        >>> import tempfile, torch, zmax
        >>> G = zmax.generator(torch.nn.Linear(4, 2), shape=(4,), modality="vector")
        >>> S = zmax.score(lambda x: x[:, 0], differentiable=True)
        >>> t = zmax.finetune(G, S, "direct", budget=100)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     "<!doctype html>" in write_tuning(t, folder + "/page.html").read_text()
        True
    """
    return put(place(path), render(result))


def render(result: TuneResult) -> str:
    """Return the page as text."""
    return rendered("tuning.html.j2", context(result))


def context(result: TuneResult) -> dict[str, Any]:
    """Return all that the template shows."""
    looks = result.rounds.looks
    shared = common(result, result.failures)
    return {
        **shared,
        "lede": lede(result),
        "tiles": tiles(result),
        "outcome": verdict.judge(result),
        "pairs": pairs(result),
        "other": shown(result) if looks and not result.chosen and len(looks) > 1 else None,
        "why": result.why,
        "panels": panels(result),
        "looks": table(looks),
        "chosen": result.chosen,
        "settings": [*shared["settings"], *descent_rows(result)],
    }


def lede(result: TuneResult) -> str:
    """Say in a sentence what the finetune reached."""
    calls, time = f"{result.ledger.score_calls:,} score calls", sentences.duration(result.ledger.seconds)
    start = f"In {calls} and {time}, {result.spec.method}"
    looks = result.rounds.looks
    if not looks:
        return f"{start} came to no look at fresh samples."
    before, after = looks[0], looks[result.chosen]
    if not result.chosen:
        return f"{start} left the generator as it was: fresh samples have a mean score of {figure(before.score)}."
    text = f"{start} moved the mean score of fresh samples from {figure(before.score)} to {figure(after.score)}"
    if math.isfinite(after.judged):
        text += f", and the held-out score from {figure(before.judged)} to {figure(after.judged)}"
    if math.isfinite(after.kl):
        text += f", at a KL of {figure(after.kl, 3)} nats to the parent"
    return text + "."


def tiles(result: TuneResult) -> list[Tile]:
    """Return the main figures: of the child, with the parent's below."""
    looks, odds = result.rounds.looks, measures.LOG_ODDS
    made = []
    if looks:
        old, new = looks[0], looks[result.chosen]
        made = [
            _tile("Score, p05", old.quantile(0.05), new.quantile(0.05)),
            _tile("Score, median", old.quantile(0.5), new.quantile(0.5)),
            _tile("Score, mean", old.score, new.score, _chances(old.scores, new.scores, result.spec.unit == odds)),
        ]
        if new.held_out:
            judged = _chances(old.held_out, new.held_out, result.spec.held_out_unit == odds)
            made.append(_tile("Held-out, mean", old.judged, new.judged, judged))
        if math.isfinite(new.kl):
            made.append(Tile("KL to the parent", new.kl, figure(new.kl, 3), f"nats, ± {figure(new.kl_error, 2)}"))
        if new.realism:
            shares = percent(old.natural, 0), percent(new.natural, 0)
            made.append(Tile("Natural samples", new.natural, shares[1], f"parent {shares[0]}"))
    calls, time = result.ledger.score_calls, sentences.duration(result.ledger.seconds)
    return [*made, Tile("Score calls", float(calls), f"{calls:,}", f"in {time}")]


def table(looks: Sequence[Look], columns: Mapping[str, str] = COLUMNS) -> dict[str, list[Any]]:
    """Return heads and rows of what the looks have seen; a column of which nothing is known is left out."""
    numbers = [look.row() for look in looks]
    known = [name for name in columns if any(math.isfinite(row[name]) for row in numbers)]
    written = {"natural": lambda share: percent(share, 0), "score_calls": figure, "updates": figure}
    rows = [[written.get(name, brief)(row[name]) for name in known] for row in numbers]
    return {"heads": [columns[name] for name in known], "rows": rows}


def _tile(title: str, old: float, new: float, chances: str = "") -> Tile:
    return Tile(title, new, figure(new, 3), f"parent {figure(old, 3)}{chances}")


def _chances(old: list[float], new: list[float], odds: bool) -> str:
    """Say what log-odds are as mean probabilities."""
    if not odds:
        return ""
    shares = [
        percent(measures.mean([measures.probability(v) for v in side if math.isfinite(v)]), 0) for side in (old, new)
    ]
    return f"; mean probability {shares[0]} to {shares[1]}"


def descent_rows(result: TuneResult) -> list[Row]:
    """Return rows of what was in the end used."""
    words = ", ".join(f"{name}={value}" for name, value in result.recipe.items())
    return [
        Row("Weights that move", result.moves or "none yet", "All others are the parent's."),
        Row("Descent", words or "none yet", "How AdamW moved them: the tuner's own recipe where nothing was asked."),
    ]
