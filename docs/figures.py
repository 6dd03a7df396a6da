"""Draws the pictures of the README and the docs from real runs: `python docs/figures.py`."""

from __future__ import annotations

import runpy
import statistics
from pathlib import Path

import torch
from matplotlib.figure import Figure

import zmax
from zmax.results import Result, TuneResult

IMAGES = Path(__file__).parent / "images"
EXAMPLES = Path(__file__).parents[1] / "examples"


def before_and_after(result: Result, file: Path) -> None:
    """Draw random samples beside the best ones, with their mean probabilities."""
    figure = Figure(figsize=(9, 4.9), dpi=110, layout="constrained")
    panels = {"16 random samples": result.reference[:16], "the best 16 of 1,000": result.top(16)}
    for axes, (title, entries) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        axes.imshow(_grid([e.sample for e in entries]), interpolation="nearest")
        axes.set_title(title, fontsize=13)
        judge = _mean_probability([e.held_out for e in entries if e.held_out is not None])
        axes.set_xlabel(
            f"glasses: {_mean_probability([e.score for e in entries]):.0%}, by the held-out judge {judge:.0%}"
        )
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    figure.savefig(file, facecolor="white")


def fooled(runs: dict[str, Result], file: Path) -> None:
    """Draw score and held-out score of a climbed discriminator against score calls, and its winners, guard by guard."""
    figure = Figure(figsize=(9, 5.6), dpi=110, layout="constrained")
    curves, pictures = figure.subplots(2, len(runs), height_ratios=[3, 2])
    for axes, below, (name, r) in zip(curves, pictures, runs.items(), strict=True):
        calls = [look["calls"] for look in r.watched]
        axes.plot(calls, [look["score"] for look in r.watched], color="tab:orange", label="score")
        axes.plot(calls, [look["held_out"] for look in r.watched], color="tab:blue", label="held out")
        axes.set(title=f"{name}\nplausibility {r.best.plausibility:.2f}", xlabel="score calls", xlim=(0, 640))
        below.imshow(_grid([e.sample for e in r.top(8)]), interpolation="nearest")
        below.set(xticks=[], yticks=[])
        below.spines[:].set_visible(False)
    curves[0].legend(frameon=False)
    figure.savefig(file, facecolor="white")


def finetuned(result: TuneResult, file: Path) -> None:
    """Draw samples of the parent above those of the child, of the same noises, with their scores."""
    figure = Figure(figsize=(9, 3.1), dpi=110, layout="constrained")
    sides = {"parent": result.before.entries[:8], "child": result.after.entries[:8]}
    for row, (who, entries) in zip(figure.subplots(2, 8), sides.items(), strict=True):
        for axes, entry in zip(row, entries, strict=True):
            axes.imshow(entry.sample.clamp(0, 1).permute(1, 2, 0), interpolation="nearest")
            axes.set_xlabel(f"{entry.score:.1f}")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(who, fontsize=13)
    figure.savefig(file, facecolor="white")


def _grid(samples: list[torch.Tensor]) -> torch.Tensor:
    framed = [torch.nn.functional.pad(s.clamp(0, 1), (1, 1, 1, 1), value=1.0) for s in samples]
    rows = [torch.cat(framed[i : i + 4], dim=2) for i in range(0, len(framed), 4)]
    return torch.cat(rows, dim=1).permute(1, 2, 0)


def _mean_probability(log_odds: list[float]) -> float:
    return statistics.mean(torch.sigmoid(torch.tensor(log_odds)).tolist())


def main() -> None:
    """Run the demo's question and draw it."""
    method = zmax.search.Gradient(step=0.05, batch=64)
    result = zmax.maximize("avatars-gan", "attribute:glasses", method, 1000, held_out="attribute-judge:glasses")
    IMAGES.mkdir(exist_ok=True)
    before_and_after(result, IMAGES / "demo.png")
    judge = "attribute-judge:glasses"
    tuned = zmax.finetune("avatars-gan", "attribute:glasses", "direct", 2000, held_out=judge, rate=1e-4)
    finetuned(tuned, IMAGES / "finetune.png")
    fooled(runpy.run_path(str(EXAMPLES / "fooled_critic.py"))["runs"], IMAGES / "fooled-critic.png")


if __name__ == "__main__":
    main()
