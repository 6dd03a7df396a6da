"""Draws the pictures of the README and the docs from real runs: `python docs/figures.py`."""

from __future__ import annotations

import statistics
from pathlib import Path

import torch
from matplotlib.figure import Figure

import zmax
from zmax.run import Result

IMAGES = Path(__file__).parent / "images"


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


if __name__ == "__main__":
    main()
