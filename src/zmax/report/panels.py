"""The figures of a page with the words that go with them."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from zmax.report import figures, measures, verdict
from zmax.report.archive import archive_figure, atlas
from zmax.report.sentences import figure
from zmax.results.result import Result
from zmax.search.diversity.archive import Archive


@dataclass(frozen=True)
class Panel:
    """A figure.

    Attributes:
        title: its heading.
        svg: the drawing.
        alt: what it shows, for those who do not see it.
        caption: how to read it.
    """

    title: str
    svg: Markup
    alt: str
    caption: str


def panels(result: Result) -> list[Panel]:
    """Return the figures that this run has numbers for."""
    with figures.style():
        ways = (_front, _volume, _map, _progress, _plausibility, _held_out, _watched)
        drawn = [*(way(result) for way in ways), *_parts(result)]
    return [panel for panel in drawn if panel is not None]


def _map(result: Result) -> Panel | None:
    archive = result.archive
    if not isinstance(archive, Archive) or not bool(archive.filled.any()):
        return None
    chart = atlas(archive, result.descriptors, result.elites)
    names = " and ".join(result.descriptors)
    reached = f"{chart.filled:,} of {len(archive.score):,} cells are filled ({chart.coverage:.0%})"
    caption = (
        f"Each cell holds the best sample found with that {names}, framed in the colour of its score; blank cells hold "
        f"none. {reached}; the QD-score, the sum of what scores exceed {figure(chart.floor)} by, is "
        f"{figure(chart.qd_score)}."
    )
    svg = figures.map_svg(archive_figure(chart, _label(result)))
    return Panel("The best of every kind", _markup(svg), f"A map of pictures by {names}: {reached}.", caption)


def _front(result: Result) -> Panel | None:
    points = measures.front_points(result)
    if points is None:
        return None
    names = [plain(name, f"goal {i + 1}") for i, name in enumerate(result.spec.goals)]
    alt = f"The front of {' and '.join(result.spec.goals)}: {result.front_in_words}."
    if len(names) == 2:
        thinned = _thinned(len(points.all[0]))
        caption = f"Each dot is one scored sample; no other is higher in both than those on the line.{thinned}"
        return Panel("The front", _markup(figures.front_svg(points, *names)), alt, caption)
    caption = "Each line is one sample of the front, from the lowest to the highest value of the front in each goal."
    return Panel("The front", _markup(figures.parallel_svg(measures.shares(result), names)), alt, caption)


def _volume(result: Result) -> Panel | None:
    curve = measures.volume_curve(result)
    if curve is None:
        return None
    calls, volume = curve
    end = max(float(result.ledger.score_calls), float(calls[-1]))
    svg = figures.part_svg(calls, volume, end, "volume", "hypervolume")
    alt = f"The hypervolume rises from {figure(float(volume[0]))} to {figure(float(volume[-1]))}."
    caption = (
        "What the front dominates above the lowest value of each goal among the random samples, in standard deviations "
        "of each goal there."
    )
    return Panel("Hypervolume", _markup(svg), alt, caption)


def _progress(result: Result) -> Panel | None:
    curve = measures.best_curve(result)
    if curve is None:
        return None
    known = [float(best) for best in curve.best if best == best]
    alt = f"The best score so far rises from {figure(known[0])} to {figure(known[-1])}" if known else "No best score"
    alt += f" over {curve.end:,.0f} score calls."
    thinned = _thinned(len(curve.score))
    caption = f"Each dot is one scored sample, the line the best so far.{thinned}"
    if curve.reference_mean is not None:
        alt += f" The mean of the random samples is {figure(curve.reference_mean)}."
        caption += " The dashed line is the mean of the random samples."
    return Panel("Best score so far", _markup(figures.progress_svg(curve, _label(result))), alt, caption)


def _plausibility(result: Result) -> Panel | None:
    points = measures.plausibility_points(result)
    if points is None:
        return None
    low = int((points.leaders[0] < measures.SUSPICIOUS).sum())
    alt = f"Score against plausibility: {low} of {len(points.leaders[0])} best samples have a plausibility below 0.05."
    caption = (
        "Plausibility says how typical a sample's latent is of the prior: random draws spread evenly over 0 to 1; "
        f"left of the red line, at 0.05, is suspicious.{_thinned(len(points.all[0]))}"
    )
    svg = figures.plausibility_svg(points, _label(result))
    return Panel("Score against plausibility", _markup(svg), alt, caption)


def _held_out(result: Result) -> Panel | None:
    points = measures.held_out_points(result)
    if points is None:
        return None
    sentence = verdict.agreement(result)
    svg = figures.held_out_svg(points, _label(result), "held-out score")
    counts = f"{len(points.reference[0])} random and {len(points.leaders[0])} best samples"
    return Panel("Held-out score against score", _markup(svg), f"Held-out score against score for {counts}.", sentence)


def _watched(result: Result) -> Panel | None:
    curves = measures.watched_curves(result)
    if curves is None:
        return None
    _, score, held_out = curves
    alt = f"The score of the leaders goes from {figure(float(score[0]))} to {figure(float(score[-1]))}, the held-out "
    alt += f"score from {figure(float(held_out[0]))} to {figure(float(held_out[-1]))}."
    caption = "While both rise, the gain is real. A held-out score that falls while the score rises is being fooled."
    return Panel("Score and held-out score as it went on", _markup(figures.watched_svg(*curves)), alt, caption)


def _parts(result: Result) -> list[Panel]:
    drawn = []
    for i, (name, (calls, value)) in enumerate(measures.part_curves(result).items()):
        svg = figures.part_svg(calls, value, max(float(result.ledger.score_calls), float(calls[-1])), f"part-{i}")
        alt = f"{name} in the best sample so far: from {figure(float(value[0]))} to {figure(float(value[-1]))}."
        caption = f"The value of {name} in the sample that leads at that time; the whole score decides who leads."
        drawn.append(Panel(f"Part: {name}", _markup(svg), alt, caption))
    return drawn


def _label(result: Result) -> str:
    return f"score ({result.spec.unit})" if plain(result.spec.unit, "") else "score"


def plain(name: str, other: str) -> str:
    """Return a name if it can be drawn, else another."""
    return name if name and name.isascii() and name.isprintable() else other


def _thinned(n: int) -> str:
    shown = len(range(0, n, -(-n // measures.MAX_DOTS))) if n else 0
    return f" {shown:,} of {n:,} are shown." if shown < n else ""


def _markup(svg: str) -> Markup:
    return Markup(svg)  # drawn here, from numbers and fixed words
