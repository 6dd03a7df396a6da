"""One self-contained HTML page about a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zmax.report import cards, measures, sentences, verdict
from zmax.report.panels import panels
from zmax.report.sheet import Tile, common, place, put, rendered
from zmax.results.result import Result
from zmax.search.diversity.scattered import Scattered
from zmax.store import Entry


def write_report(result: Result, path: str | Path) -> Path:
    """Write the page of a run: HTML with style, pictures and figures inside, and nothing to fetch.

    The page says in plain words what was asked and found, shows random samples beside the best ones, draws the
    course of the run, asks whether the score is being fooled, and gives the ledger, the settings and the command that
    repeats the run. Every text that came from outside is escaped. Unfinished runs and runs in which nothing got
    a score have a page too.

    Args:
        result: the run.
        path: the file; its folders are made, and an older page is replaced whole.

    Returns:
        The file written.

    Raises:
        InputError: `path` is a folder.
        StoreError: the file cannot be written.

    Example:
        >>> import tempfile, torch, zmax
        >>> G = zmax.generator(torch.nn.Identity(), shape=(4,), modality="vector")
        >>> r = zmax.maximize(G, lambda x: x[:, 0], method="random", budget=100)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     "<!doctype html>" in write_report(r, folder + "/page.html").read_text()
        True
    """
    return put(place(path), render(result))


def render(result: Result) -> str:
    """Return the page as text."""
    return rendered("page.html.j2", context(result))


def context(result: Result) -> dict[str, Any]:
    """Return all that the template shows."""
    spec = result.spec
    leaders, reference = result.leaders[: cards.SHOWN], result.reference[: cards.SHOWN]
    limit = cards.vector_limit([*leaders, *reference, *result.draws, *result.front])
    return {
        **common(result, result.history.failures),
        "lede": lede(result),
        "tiles": tiles(result),
        "verdict": verdict.judge(result),
        "before": cards.cards(reference, "Random sample", spec, limit),
        "after": cards.cards(leaders, "Best sample", spec, limit),
        "draws": cards.cards(result.draws[: cards.SHOWN], "Draw", spec, limit),
        "front": cards.cards(along(result.front), "On the front", spec, limit),
        "front_in_words": result.front_in_words,
        "front_shown_whole": len(result.front) <= cards.SHOWN,
        "counts": {"before": len(result.reference), "after": len(result.leaders)},
        "panels": panels(result),
    }


def lede(result: Result) -> str:
    """Say in a sentence what the run reached."""
    calls, time = f"{result.ledger.score_calls:,} score calls", sentences.duration(result.ledger.seconds)
    if not result.leaders:
        return f"In {calls} and {time}, {result.spec.method} found no sample that got a score."
    best, before = result.leaders[0], measures.mean(measures.scores(result.reference))
    odds = result.spec.unit == measures.LOG_ODDS
    reached = "reached a score of" if best.feasible else "met the constraints with no sample; the nearest scores"
    text = f"In {calls} and {time}, {result.spec.method} {reached} {sentences.figure(best.score)}"
    text += f" (probability {sentences.percent(measures.probability(best.score))})" if odds else ""
    if before is not None:
        text += f"; random samples have {sentences.figure(before)} on average"
        text += (
            f" (mean probability {sentences.percent(_mean_probability(measures.scores(result.reference)))})"
            if odds
            else ""
        )
    if result.front:
        text += f". {result.front_in_words}"
    if result.began_at:
        text += f"; it began at {result.began_at}, the best of which has {sentences.figure(result.began_with)}"
    if best.id in {entry.id for entry in result.reference}:
        text += ". No sample that it tried beat the best random one"
    more = [f"{result.meeting[:1].upper()}{result.meeting[1:]}."] if result.meeting else []
    archive = result.archive
    if isinstance(archive, Scattered):
        elites = f"{archive.coverage:,} samples are kept of which no two are nearer than {archive.least:.3g}"
        more.append(f"{elites}; the QD-score is {sentences.figure(archive.qd_score)}.")
    more += [sentences.APPROXIMATE] if result.approximate else []
    return " ".join([text + ".", *more, sentences.held_back(result.held_since, result.ledger.score_calls)]).rstrip()


def along(front: Sequence[Entry]) -> list[Entry]:
    """Return at most as many samples of a front as are shown, evenly spaced along it."""
    n, most = len(front), min(len(front), cards.SHOWN)
    return [front[round(i * (n - 1) / max(1, most - 1))] for i in range(most)]


def tiles(result: Result) -> list[Tile]:
    """Return the main figures."""
    odds = result.spec.unit == measures.LOG_ODDS
    held_out_odds = result.spec.held_out_unit == measures.LOG_ODDS
    best = result.leaders[0] if result.leaders else None
    scores, before = measures.scores(result.leaders), measures.scores(result.reference)
    made = [
        _tile("Best score", None if best is None else best.score, [] if best is None else [best.score], odds),
        _tile(_some("Best", scores, "mean"), measures.mean(scores), scores, odds),
        _tile(_some("Random", before, "mean"), measures.mean(before), before, odds),
    ]
    if result.spec.held_out is not None:
        kept = measures.held_out(result.leaders)
        made.append(_tile(_some("Best", kept, "held-out"), measures.mean(kept), kept, held_out_odds))
    middle = measures.quantile([e.plausibility for e in result.leaders], 0.5)
    usual = measures.quantile(measures.realism(result.leaders), 0.5)
    best_note = f"median of the best; the best sample has {sentences.brief(best.realism)}" if best is not None else ""
    ledger, volume = result.ledger, result.hypervolume
    if result.front and volume is not None:
        made.insert(0, Tile("On the front", float(len(result.front)), str(len(result.front)), "beaten by no other"))
        note = "above the lowest random values, in their spreads"
        made.insert(1, Tile("Hypervolume", volume, sentences.figure(volume), note))
    return [
        *made,
        Tile("Plausibility", middle, sentences.figure(middle), "median of the best; below 0.05 is suspicious"),
        *([] if usual is None else [Tile("Realism", usual, sentences.brief(usual), best_note)]),
        Tile(
            "Score calls",
            float(ledger.score_calls),
            f"{ledger.score_calls:,}",
            f"in {sentences.duration(ledger.seconds)}",
        ),
    ]


def _tile(title: str, value: float | None, values: list[float], odds: bool) -> Tile:
    """Return a tile; for log-odds with the mean of the probabilities, which is not the probability of the mean."""
    share = _mean_probability(values) if odds else None
    words_for = "probability" if len(values) < 2 else "mean probability"
    return Tile(
        title, value, sentences.figure(value), "" if share is None else f"{words_for} {sentences.percent(share)}"
    )


def _some(who: str, values: list[float], what: str) -> str:
    """Return "Best 16, mean", without the number where there are none."""
    return f"{who} {len(values)}, {what}" if values else f"{who}, {what}"


def _mean_probability(log_odds: list[float]) -> float | None:
    return measures.mean([measures.probability(v) for v in log_odds])
