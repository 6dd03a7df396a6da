"""One card a sample: what it looks like and its numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zmax.core.samples import describe
from zmax.report import pictures
from zmax.report.measures import LOG_ODDS, probability
from zmax.report.sentences import figure
from zmax.results.spec import Spec
from zmax.store import Entry

SHOWN = 16
LONGEST_TEXT = 2000
BARS, NUMBERS = 64, 3
WIDTH, HEIGHT = 120.0, 60.0


@dataclass(frozen=True)
class Bar:
    """One bar of a sparkline, in its view box of 120 x 60."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Card:
    """A sample on the page.

    Attributes:
        kind: "image", "vector" or "text"; decides which of the next ones is shown.
        title: "Best sample 1", "Random sample 3".
        entry: its numbers.
        image: data URI, of a picture that moves where the sample is a video.
        ratio: width by height of the image.
        coarse: whether the image has so few pixels that they are shown as squares.
        bars: the sparkline of a vector.
        text: a text, or any sample in print.
        probability: of the score, None unless it is in log-odds.
        held_out_probability: of the held-out score, None unless it is in log-odds.
        judged: whether the run has a held-out score; a sample without a value then failed there, or still waits.
    """

    kind: str
    title: str
    entry: Entry
    image: str = ""
    ratio: float = 1.0
    coarse: bool = True
    bars: tuple[Bar, ...] = ()
    text: str = ""
    probability: float | None = None
    held_out_probability: float | None = None
    judged: bool = False


def cards(entries: Sequence[Entry], title: str, spec: Spec, limit: float) -> list[Card]:
    """Return the cards of the first 16 entries; bars of vectors are scaled to `limit`."""
    held_out_odds = spec.held_out_unit == LOG_ODDS
    made = []
    for i, entry in enumerate(entries[:SHOWN]):
        known = {"title": f"{title} {i + 1}", "entry": entry, **_content(entry.sample, spec.modality, limit)}
        known["judged"] = spec.held_out is not None
        if spec.unit == LOG_ODDS:
            known["probability"] = probability(entry.score)
        if held_out_odds and entry.held_out is not None:
            known["held_out_probability"] = probability(entry.held_out)
        made.append(Card(**known))
    return made


def vector_limit(entries: Iterable[Entry]) -> float:
    """Return the largest finite absolute value in these vectors, 1 if there is none."""
    sizes = [abs(v) for e in entries for v in _vector(e.sample) or [] if v == v and abs(v) != float("inf")]
    return max(sizes, default=1.0) or 1.0


def printed(sample: Any) -> str:
    """Return any sample as text: strings as they are, tensors as lists, the rest as JSON or its printed form."""
    if isinstance(sample, str):
        return sample
    if isinstance(sample, Tensor) and sample.numel() > 10_000:
        return describe(sample)
    try:
        return json.dumps(sample.tolist() if isinstance(sample, Tensor) else sample, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(sample)


def _content(sample: Any, modality: str, limit: float) -> dict[str, Any]:
    if modality == "image" and pictures.is_image(sample):
        return _pictured([pictures.pixels(sample)])
    if modality == "video" and (frames := pictures.frames(sample)):
        return _pictured(frames)
    values = _vector(sample)
    if modality != "text" and values:
        return {"kind": "vector", "bars": _bars(values, limit), "text": _numbers(values)}
    text = printed(sample)
    return {"kind": "text", "text": text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + " …"}


def _pictured(frames: Sequence[pictures.Pixels]) -> dict[str, Any]:
    """Return a picture, or several as one that moves."""
    height, width = frames[0].shape[:2]
    image = pictures.data_uri(frames[0]) if len(frames) == 1 else pictures.moving_uri(frames)
    return {"kind": "image", "image": image, "ratio": width / height, "coarse": max(height, width) <= 96}


def _vector(sample: Any) -> list[float] | None:
    """Return a sample as a list of numbers, None if it is something else."""
    if isinstance(sample, Tensor):
        return None if sample.is_complex() else [float(v) for v in sample.flatten()[:4096].tolist()]
    if isinstance(sample, list) and sample and all(type(v) in (int, float) for v in sample):
        return [float(v) for v in sample[:4096]]
    return [float(sample)] if type(sample) in (int, float) else None


def _bars(values: list[float], limit: float) -> tuple[Bar, ...]:
    """Return bars from the middle line, up for positive and down for negative values; at most 64, the rest left out."""
    shown = values[:BARS]
    pitch = WIDTH / len(shown)
    heights = [min(1.0, max(-1.0, v / limit)) * HEIGHT / 2 if v == v else 0.0 for v in shown]
    return tuple(
        Bar(round(i * pitch, 2), round(HEIGHT / 2 - max(h, 0.0), 2), round(pitch * 0.8, 2), round(abs(h), 2))
        for i, h in enumerate(heights)
    )


def _numbers(values: list[float]) -> str:
    rest = f" … ({len(values)})" if len(values) > NUMBERS else ""
    return ", ".join(figure(v, 3) for v in values[:NUMBERS]) + rest
