"""Numbers, settings and the ledger in plain words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from zmax.core.budget import Budget, Ledger
from zmax.core.methods import methods
from zmax.core.setting import described, written
from zmax.results.spec import Question, Spec

MISSING = "–"

EXPLAINED: dict[str, tuple[str, str]] = {
    "score_calls": ("Score calls", "Samples scored: for the method, random or fresh samples, and first probes."),
    "score_grads": ("Score gradients", "Scored samples whose score was also differentiated."),
    "decodes": ("Decodes", "Latents turned into samples by the generator."),
    "nfe": ("Network evaluations", "Forward passes through the generator's networks, one a sample."),
    "nfe_backward": ("Backward passes", "Backward passes through the generator's networks, one a sample."),
    "previews": ("Previews", "Points on the way from noise to data that were denoised to see what they show."),
    "preview_nfe": ("Evaluations for previews", "Network evaluations that previews took, of those above."),
    "realism_nfe": ("Evaluations for realism", "Network evaluations beside those above that measured kept samples."),
    "recalled": ("Known samples", "Samples that had been scored before: their score was not bought again."),
    "held_out_calls": ("Held-out calls", "Samples shown to the held-out score; the method saw none."),
    "failures": ("Failures", "Evaluations that gave no usable score; they take no part in the selection."),
    "bad_gradients": ("Bad gradients", "Gradients that were not finite and were set to zero."),
    "seconds": ("Time", "Wall-clock time of the run."),
    "peak_memory": ("Peak memory", "Largest memory of the process."),
}
"""Title and meaning of each entry of the ledger."""

STOPPED = {
    "until": "fresh samples reached the goal",
    "trained": "it had taken all the steps that the method trains for",
    "score_calls": "it had made the score calls it was allowed",
    "nfe": "it had made the network evaluations it was allowed",
    "score_grads": "it had taken the score gradients it was allowed",
    "seconds": "its time was up",
    "recalled": "nearly all it decoded had been scored before",
    "plateau": "the best score no longer rose",
    "held_out": "the held-out score no longer rose while the score did",
    "interrupted": "it was interrupted; `zmax resume` goes on with it",
    "not finished": "it has not finished: this page shows what was recorded so far, and `zmax resume` goes on with it",
}

STANDING = 0.25
"""Share of the score calls without a better score after which a guard that holds the best is spoken of."""

APPROXIMATE = "The draws are approximate: they do not follow the tilted law exactly, however large the budget."


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    title: str
    value: str
    meaning: str = ""


def figure(value: float | None, digits: int = 4) -> str:
    """Return a number with so many digits.

    Example:
        >>> figure(12.34567), figure(-0.5), figure(None), figure(123456.0)
        ('12.35', '−0.5', '–', '123,456')
    """
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    whole = 1000 <= abs(value) < 1e9
    text = f"{value:,.0f}" if whole else f"{value:.{digits}g}"
    return "0" if text in ("-0", "0") else text.replace("-", "−")


def brief(value: float | None) -> str:
    """Return a number short enough for a card.

    Example:
        >>> brief(9.8134), brief(-0.02638)
        ('9.81', '−0.026')
    """
    return figure(value, 3 if value is None or abs(value) >= 0.1 else 2)


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share as per cent with so many decimals, never rounded to certainty.

    Example:
        >>> percent(0.5), percent(0.99996), percent(1e-9), percent(0.999, 0)
        ('50.0%', '>99.9%', '<0.1%', '>99%')
    """
    if share is None or math.isnan(share):
        return MISSING
    least = 10.0**-digits
    if share * 100 > 100 - least:
        return f">{100 - least:.{digits}f}%"
    return f"<{least:.{digits}f}%" if share * 100 < least else f"{share * 100:.{digits}f}%"


def duration(seconds: float) -> str:
    """Return a time span in words.

    Example:
        >>> duration(3.21), duration(75.0), duration(7260.0)
        ('3.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def stop_words(reason: str) -> str:
    """Say why the run stopped, to follow "It stopped because"."""
    if reason.startswith("failed"):
        first = (reason.partition(": ")[2].splitlines() or [""])[0]
        return f"too many evaluations failed ({first})" if first else "too many evaluations failed"
    return STOPPED.get(reason, reason)


def ledger_rows(ledger: Ledger) -> list[Row]:
    """Return the ledger as a table."""
    return [_ledger_row(name, value) for name, value in asdict(ledger).items()]


def failure_rows(failures: Mapping[int, str], most: int = 8) -> list[Row]:
    """Return the reasons of failures with how often each occurred, the most frequent first."""
    counts = Counter(failures.values()).most_common()
    rows = [Row(reason, f"{n:,}") for reason, n in counts[:most]]
    rest = sum(n for _, n in counts[most:])
    return [*rows, Row(f"{len(counts) - most} other reasons", f"{rest:,}")] if rest else rows


def setting_rows(spec: Spec) -> list[Row]:
    """Return the settings of a run as a table."""
    params = ", ".join(f"{name}={value}" for name, value in spec.params.items())
    rows = [
        Row("Generator G", spec.generator, f"Gives samples of kind: {spec.modality}."),
        Row("Score S", spec.score, f"In {spec.unit}; higher is better." if spec.unit else "Higher is better."),
        Row("Method", spec.method, _method_summary(spec)),
        Row("Its parameters", params or "defaults", "What was changed from the method's defaults."),
        Row("Budget", budget_words(spec.budget), "The run stops at the first limit reached."),
    ]
    known = {name: setting for name, setting in described(type(spec)).items() if spec.verb in setting.verbs}
    return rows + [_setting_row(name, getattr(spec, name), setting.help) for name, setting in known.items()]


def budget_words(budget: Budget) -> str:
    """Return the limits of a budget in words."""
    names = {"score_calls": "score calls", "nfe": "network evaluations", "score_grads": "gradients", "seconds": "s"}
    limits = {names[name]: value for name, value in asdict(budget).items() if value is not None}
    return ", ".join(f"{value:,} {name}" for name, value in limits.items())


def python_line(spec: Spec) -> str:
    """Return the Python call that repeats a run, with G, S and H standing for the user's objects."""
    limits = {name: value for name, value in asdict(spec.budget).items() if value is not None}
    only_calls = list(limits) == ["score_calls"]
    words = ", ".join(f"{name}={value!r}" for name, value in limits.items())
    arguments: dict[str, Any] = {"method": repr(spec.method)}
    params = dict(spec.params)
    if spec.verb == "sample":
        arguments["temperature"] = repr(params.pop("temperature", 1.0))
    if params:
        arguments["params"] = repr(params)
    arguments["budget"] = str(limits["score_calls"]) if only_calls else f"zmax.Budget({words})"
    known = described(type(spec))
    arguments |= {name: repr(value) for name, value in written(spec).items() if known[name].python}
    if spec.held_out is not None:
        arguments["held_out"] = "H"
    arguments |= {name: word for name, word in (("data", "D"), ("start", "Z")) if name in spec.objects}
    return f"zmax.{spec.verb}(G, S, {', '.join(f'{name}={value}' for name, value in arguments.items())})"


def _setting_row(name: str, value: object, meaning: str) -> Row:
    return Row(name.replace("_", " ").capitalize(), "none" if value is None else str(value), meaning)


def _ledger_row(name: str, value: int | float) -> Row:
    title, meaning = EXPLAINED[name]
    shown = f"{value:,}"
    if name == "seconds":
        shown = duration(value)
    elif name == "peak_memory":
        shown = f"{value / 2**20:,.0f} MiB"
    return Row(title, shown, meaning)


def _method_summary(spec: Question) -> str:
    known = {m.name: m.summary for m in methods()}
    return known.get(spec.method, "")


def held_back(held_since: int | None, calls: int) -> str:
    """Say that the guard is what holds the score back, "" where it is not.

    Example:
        >>> held_back(120, 1000)
        'The best is unchanged since call 120 and held at the rim of where the prior lives; --guard report lets go.'
        >>> held_back(980, 1000), held_back(None, 1000)
        ('', '')
    """
    if held_since is None or calls - held_since < STANDING * calls:
        return ""
    return (
        f"The best is unchanged since call {held_since:,} and held at the rim of where the prior lives; "
        "--guard report lets go."
    )
