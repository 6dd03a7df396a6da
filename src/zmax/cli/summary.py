"""The figures of a run as a short table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from zmax.report.conditioning.verdict import judge as judge_conditioning
from zmax.report.measures import LOG_ODDS, probability
from zmax.report.sentences import held_back
from zmax.report.tuning.verdict import Outcome, judge
from zmax.report.verdict import WARN
from zmax.results import ConditionResult, Result, TuneResult
from zmax.store import Entry

SHOWN = 16
WORDS = 300
"""Characters shown of what a score says."""

TUNED = {
    "p05": "score, 5 % quantile",
    "p50": "score, median",
    "p95": "score, 95 % quantile",
    "score": "score, mean",
    "held_out": "held-out score, mean",
    "kl": "KL to the parent, nats",
    "natural": "share of natural samples",
    "distance": "mean distance between samples",
    "vendi": "Vendi score",
}
"""Figures of fresh samples that are printed."""

Column = tuple[str, Callable[[Entry], float | None]]


def show(result: Result, page: Path, samples: Path) -> None:
    """Print best, top and random samples side by side, what the run cost, and where its files are."""
    console = Console(highlight=False)
    spec = result.spec
    top = result.leaders[:SHOWN]
    columns = _columns(result)
    console.print(f"{spec.score} on {spec.generator}", markup=False, style="bold", soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading, _ in columns:
        table.add_column(heading, justify="right", vertical="bottom", no_wrap=True)
    groups = {
        "best": top[:1],
        **{f"highest {name}": highest(result.front, name) for name in spec.goals},
        f"mean of top {len(top)}": top,
        f"mean of {len(result.reference)} random": result.reference,
    }
    for name, entries in groups.items():
        table.add_row(name, *(_mean(entries, value) for _, value in columns))
    console.print(table)
    why = f" ({spec.reason})" if spec.reason else ""
    met = result.meeting if result.leaders and result.leaders[0].feasible else ""  # else it is a warning
    lines = {
        "front": result.front_in_words,
        "why": " ".join(top[0].why.split())[:WORDS] if top else "",
        "where": met,
        "method": spec.method + why,
        "began at": began(result),
        "stopped by": result.stop_reason,
        "cost": cost(result),
    }
    lines |= {"draws": "approximate: their law is not exactly the tilted one" if result.approximate else ""}
    lines |= {"guard": held_back(result.held_since, result.ledger.score_calls), "warning": _lines(result.warnings)}
    lines |= {"run": str(result.folder), "page": str(page), "samples": str(samples), "repeat": spec.command() or ""}
    _print(console, lines)


def began(result: Result) -> str:
    """Say what a run began at and what that scored, "" where it began at the prior."""
    best = result.began_with
    return result.began_at and f"{result.began_at}; the best of it has {'no score' if best is None else f'{best:.4g}'}"


def cost(result: Result | TuneResult) -> str:
    """Return the ledger in one line."""
    ledger = result.ledger
    counts = {
        "score calls": ledger.score_calls,
        "score gradients": ledger.score_grads,
        "decodes": ledger.decodes,
        "NFE": ledger.nfe,
        "NFE backward": ledger.nfe_backward,
        "held-out calls": ledger.held_out_calls,
        "known samples": ledger.recalled,
        "failed": ledger.failures,
        "bad gradients": ledger.bad_gradients,
    }
    always = {"score calls", "NFE"}
    words = [f"{n:,} {name}" for name, n in counts.items() if n or name in always]
    return ", ".join([*words, f"{ledger.seconds:.1f} s"])


def _columns(result: Result) -> list[Column]:
    spec = result.spec
    columns: list[Column] = [(f"score\n{spec.unit}" if spec.unit else "score", lambda e: e.score)]
    if spec.unit == LOG_ODDS:
        columns.append(("proba-\nbility", lambda e: probability(e.score)))
    if spec.held_out is not None:
        columns.append(("held-out", lambda e: e.held_out))
        if spec.held_out_unit == LOG_ODDS:
            columns.append(
                ("held-out\nproba-\nbility", lambda e: None if e.held_out is None else probability(e.held_out))
            )
    columns += [_part(name) for name in dict.fromkeys([*spec.goals, *(part for part, _, _ in spec.constraints)])]
    columns.append(("plausi-\nbility", lambda e: e.plausibility))
    if any(e.realism is not None for e in result.leaders):
        columns.append(("realism", lambda e: e.realism))
    return columns


def highest(front: Sequence[Entry], goal: str) -> Sequence[Entry]:
    """Return the sample of a front that is highest in a goal."""
    return sorted(front, key=lambda e: -e.parts[goal])[:1]


def _part(name: str) -> Column:
    """Return the column of a goal, or of what a constraint judges."""
    return name, lambda e: e.parts.get(name)


def _mean(entries: Sequence[Entry], value: Callable[[Entry], float | None]) -> str:
    known = [x for x in map(value, entries) if x is not None and math.isfinite(x)]
    return f"{sum(known) / len(known):.4g}" if known else "-"


def show_tuning(result: TuneResult, page: Path, samples: Path) -> None:
    """Print how fresh samples of the child compare with the parent's, and where everything is."""
    console = Console(highlight=False)
    spec, outcome = result.spec, judge(result)
    console.print(f"{spec.generator} finetuned to {spec.score}", markup=False, style="bold", soft_wrap=True)
    if result.rounds.looks:
        console.print(_fresh(result))
    why = f" ({spec.reason})" if spec.reason else ""
    lines = {"verdict": outcome.headline, "hint": outcome.hint, "not true": _warned(outcome)}
    lines |= {"warning": _lines(result.warnings)}
    lines |= {"self-check": _bad(result), "method": spec.method + why, "moved": result.moves}
    lines |= {"stopped by": result.stop_reason, "kept": result.why, "cost": cost(result)}
    child = f"tuned:{result.folder}" if result.rounds.looks and "generator" not in spec.objects else ""
    lines |= {"run": str(result.folder), "child": child, "page": str(page), "samples": str(samples)}
    _print(console, lines | {"repeat": spec.command() or ""})


def show_conditioning(result: ConditionResult, page: Path, samples: Path) -> None:
    """Print how near what comes is to what was asked, and where everything is."""
    console = Console(highlight=False)
    spec, outcome = result.spec, judge_conditioning(result)
    title = f"{spec.generator} asked for {', '.join(spec.scores)}"
    console.print(title, markup=False, style="bold", soft_wrap=True)
    if result.calibrations:
        console.print(_calibrations(result))
    why = f" ({spec.reason})" if spec.reason else ""
    name = f"conditioned:{result.folder}" if result.rounds.looks and "generator" not in spec.objects else ""
    lines = {"verdict": outcome.headline, "hint": outcome.hint, "not true": _warned(outcome)}
    lines |= {"warning": _lines(result.warnings)}
    lines |= {"self-check": _bad(result), "method": spec.method + why, "moved": result.moves}
    lines |= {"stopped by": result.stop_reason, "cost": cost(result), "run": str(result.folder)}
    lines |= {"ask it": f"zmax sample -g {name} --ask S" if name else "", "page": str(page), "samples": str(samples)}
    _print(console, lines | {"repeat": spec.command() or ""})


def _calibrations(result: ConditionResult) -> Table:
    """Return requested against achieved scores, a row for each score and weight of guidance."""
    table = Table("score", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("guidance", "Label Score", "rank correlation", "range to trust", "Fréchet (data)", "diversity"):
        table.add_column(heading, justify="right")
    for one in result.calibrations:
        trusted = "none" if one.trusted is None else "{:.4g} to {:.4g}".format(*one.trusted)
        numbers = f"{one.guidance:g}", f"{one.label_score:.3g}", f"{one.rho:.3g}", trusted
        sets = (f"{one.frechet:.3g} ({one.frechet_data:.3g})", f"{one.diversity:.2f}") if one.levels else ("-", "-")
        table.add_row(one.name, *numbers, *sets)
    return table


def _warned(outcome: Outcome) -> str:
    return _lines([f"{check.rule} {check.found}" for check in outcome.verdict.checks if check.status == WARN])


def _lines(texts: Iterable[str]) -> str:
    return f"\n{'':<11}".join(texts)


def _bad(result: TuneResult) -> str:
    return "; ".join(f"{name}: {found}" for name, ok, found in result.checks if not ok)


def _fresh(result: TuneResult) -> Table:
    """Return the figures of fresh samples of parent and child."""
    n = len(result.before.look.scores)
    table = Table(f"{n} fresh samples", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("parent", "child"):
        table.add_column(heading, justify="right")
    before, after = result.before.look.row(), result.after.look.row()
    for name, title in TUNED.items():
        if math.isfinite(after[name]):
            table.add_row(title, f"{before[name]:.4g}", f"{after[name]:.4g}")
    return table


def _print(console: Console, lines: dict[str, str]) -> None:
    for name, text in lines.items():
        if text:
            console.print(f"{name:<11}{text}", markup=False, soft_wrap=True)
