"""The pictures of `docs/steering.md`: `python -m benchmarks.steering_figures`, from the results of `steering.py`."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import zmax
from benchmarks.steering_flow import BUDGETS, CURVES, JUDGES, SEEDS, climbed

HERE = Path(__file__).parent
RESULT, IMAGES = HERE / "results" / "steering.json", HERE.parent / "docs" / "images"
SHOWN = ("random", "fk", "das", "mpgd", "polish", "dno")
PLAUSIBLE = 0.05
WHOLE = ("random", "snes", "dno")  # the others' passes of 16 points need 320 evaluations to reach a sample
FLOORS = {
    "best": {"attribute:glasses": 5.5, "attribute:glasses + 20*brightness": 19.0},
    "held_out": dict.fromkeys(JUDGES, 4.0),
}
LOOKS = dict(  # Okabe and Ito's colours; shapes tell methods apart without any
    zip(
        CURVES,
        (
            ("#000000", "o"),
            ("#999999", "s"),
            ("#0072B2", "^"),
            ("#56B4E9", "v"),
            ("#009E73", "D"),
            ("#8C510A", "<"),
            ("#CC79A7", "P"),
            ("#D55E00", "X"),
            ("#E69F00", "h"),
            ("#6B3FA0", "*"),
        ),
        strict=True,
    )
)
SIZES = {"*": 11, "P": 7.5, "X": 7.5, "h": 7.5}

Results = dict[str, dict[str, Any]]


def curve(axes: Any, results: Results, name: str, score: str, key: str) -> None:
    """Draw one method's mean against network evaluations, with a bar from its least to its best seed."""
    colour, shape = LOOKS[name]
    rows = {nfe: results[part].get(name, {}).get(score) for part, nfe in BUDGETS.items()}
    points = sorted(
        (nfe * 1.025 ** (CURVES.index(name) - 4), r) for nfe, r in rows.items() if r and (nfe >= 320 or name in WHOLE)
    )
    axes.plot([x for x, _ in points], [mean(r[key]) for _, r in points], color=colour, lw=1.4, alpha=0.8)
    for x, r in points:
        axes.vlines(x, min(r[key]), max(r[key]), color=colour, lw=1, alpha=0.6)
        filled = colour if mean(r["plausibility"]) >= PLAUSIBLE else "white"
        axes.plot(x, mean(r[key]), shape, color=colour, mfc=filled, ms=SIZES.get(shape, 6), mew=1.3, zorder=3)


def curves(results: Results, file: Path) -> None:
    """Draw score and held-out score of the three problems against network evaluations."""
    figure = Figure(figsize=(11, 6.6), dpi=100, layout="constrained")
    panels = figure.subplots(2, len(JUDGES), sharex=True)
    for column, (score, judge) in zip(panels.T, JUDGES.items(), strict=True):
        for axes, key in zip(column, ("best", "held_out") if judge else ("best",), strict=False):
            for name in CURVES:
                curve(axes, results, name, score, key)
            axes.set_xscale("log")
            axes.set_ylim(bottom=FLOORS[key].get(score))
            axes.set_xticks(sorted(BUDGETS.values()), [f"{nfe:,}" for nfe in sorted(BUDGETS.values())])
            axes.set_xticks([], minor=True)
            axes.tick_params(labelbottom=True)
            axes.grid(axis="y", alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        column[0].set_title(score, fontsize=12)
        (column[1] if judge else column[0]).set_xlabel("network evaluations")
    panels[0, 0].set_ylabel("best score", fontsize=11)
    panels[1, 0].set_ylabel("held-out judge of the winner", fontsize=11)
    legend(panels[1, 2])
    figure.savefig(file, facecolor="white")


def legend(axes: Any) -> None:
    """Say in an empty panel which mark is which method, and what open ones mean."""
    axes.set_axis_off()
    marks = [
        Line2D([], [], color=colour, marker=shape, ms=SIZES.get(shape, 6), label=name)
        for name, (colour, shape) in LOOKS.items()
    ]
    for kind, face in (("plausible winners", "0.4"), ("implausible ones", "white")):
        marks.append(Line2D([], [], color="0.4", marker="o", ls="", mfc=face, label=kind))
    axes.legend(handles=marks, ncols=2, loc="center", frameon=False, fontsize=11)


def winner(name: str, score: str, results: Results) -> Any:
    """Return the best sample of the seeds, found again by the seed that won."""
    best = results["flow"][name][score]["best"]
    seed = max(range(SEEDS), key=best.__getitem__)
    return climbed(name, zmax.load_score(score), JUDGES[score], BUDGETS["flow"], seed).best


def pictures(results: Results, file: Path) -> None:
    """Draw the best sample of some methods, with its score, its held-out score and its plausibility."""
    scores = [score for score, judge in JUDGES.items() if judge]
    figure = Figure(figsize=(11, 5.4), dpi=100, layout="constrained")
    for line, score in zip(figure.subplots(len(scores), len(SHOWN)), scores, strict=True):
        for axes, name in zip(line, SHOWN, strict=True):
            entry = winner(name, score, results)
            axes.imshow(entry.sample.clamp(0, 1).permute(1, 2, 0), interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            words = f"score {entry.score:.1f}\njudge {entry.held_out:.1f}\nplausibility {entry.plausibility:.2f}"
            axes.set_xlabel(words, fontsize=11)
            if score == scores[0]:
                axes.set_title(name, fontsize=13)
        line[0].set_ylabel(score.replace(" + ", "\n+ "), fontsize=11)
    figure.savefig(file, facecolor="white")


def main() -> None:
    """Draw both."""
    torch.set_num_threads(1)
    results: Results = json.loads(RESULT.read_text())
    IMAGES.mkdir(exist_ok=True)
    curves(results, IMAGES / "steering-flow.png")
    pictures(results, IMAGES / "steering-pictures.png")


if __name__ == "__main__":
    main()
