"""The figures of a finetune with the words that go with them."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from zmax.report import figures as drawing
from zmax.report.measures import Column
from zmax.report.panels import Panel
from zmax.report.sentences import figure
from zmax.report.tuning import figures
from zmax.report.tuning.course import Course, course
from zmax.report.tuning.verdict import KEPT
from zmax.results.looks import DISTANCE
from zmax.results.tuning import TuneResult


def panels(result: TuneResult) -> list[Panel]:
    """Return the figures that this finetune has numbers for."""
    found = course(result)
    with drawing.style():
        return [] if found is None else [*_frontier(result), *_curves(found, _label(result))]


def _frontier(result: TuneResult) -> Iterator[Panel]:
    found = result.frontier
    if found is None:
        return
    what = "held-out score" if found.judged else "score"
    last = found.chosen or found.points[-1]
    alt = (
        f"Mean {what} against KL to the parent for {len(found.points)} looks; the chosen one has {figure(last.value)} "
    )
    alt += f"at {figure(last.kl, 3)} nats."
    caption = (
        "Up is better and right is further from what the parent knew. Dashed is the line to beat: keeping the "
        f"best of n draws of the parent by score, log n − (n − 1)/n nats away, with the {what} it has; the shade is "
        "its 95 % interval. The KL of diffusion and flow models is that of whole paths, which is at least that of the "
        "samples; that of other generators is fitted, and can be too small."
    )
    yield Panel("Frontier", Markup(figures.frontier_svg(found, f"mean {what}")), alt, caption)


def _curves(found: Course, label: str) -> Iterator[Panel]:
    middle = found.quantiles[:, 2]
    alt = f"The median score of fresh samples goes from {figure(middle[0])} to {figure(middle[-1])}."
    caption = "Fresh samples, always of the same noises, on which no update is done. The dot is the chosen look."
    yield Panel("Score of fresh samples", Markup(figures.scores_svg(found, label)), alt, caption)
    if found.held_out is not None:
        mean = found.held_out
        alt = f"The mean held-out score goes from {figure(mean[0])} to {figure(mean[-1])}."
        caption = "No update sees this score. Where it falls while the score rises, the score is being fooled."
        yield Panel("Held-out score", Markup(figures.judged_svg(found, mean)), alt, caption)
    if found.kinds:
        caption = f"The red line is at {DISTANCE:.0%}: weights whose samples are nearer to each other are not chosen."
        yield _shares(found, found.kinds, "Natural and diverse", "kinds", caption, DISTANCE)
    if found.pictures:
        caption = "Statistics that fell in published runs while the reward rose."
        yield _shares(found, found.pictures, "Statistics of the samples", "pictures", caption, KEPT)


def _shares(found: Course, shares: dict[str, Column], title: str, name: str, caption: str, least: float) -> Panel:
    ends = ", ".join(f"{what} {values[-1]:.0%}" for what, values in shares.items())
    svg = Markup(figures.shares_svg(found, shares, name, least))
    return Panel(title, svg, f"At the last look, as shares of the parent's: {ends}.", caption)


def _label(result: TuneResult) -> str:
    unit = result.spec.unit
    return f"score ({unit})" if unit and unit.isascii() and unit.isprintable() else "score"
