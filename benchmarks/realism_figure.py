"""The picture of `docs/realism.md`: `python -m benchmarks.realism_figure`, about a minute on one core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

import zmax
from benchmarks.realism import climbed, drawn, generators

IMAGE = Path(__file__).parent.parent / "docs" / "images" / "realism.png"
SCORE, POOL, SHOWN, RUNS = "attribute:glasses", 300, 8, 2


def rows(name: str, generator: Any) -> list[tuple[str, Tensor, Tensor]]:
    """Return random samples, the best of a pool and a method's winners, each with their scores."""
    s = zmax.load_score(SCORE)
    pool = drawn(generator, POOL, 1)
    with torch.no_grad():
        score = s(pool)
    best = score.topk(SHOWN).indices
    winners = [e for seed in range(RUNS) for e in climbed(name, generator, SCORE, seed)][:SHOWN]
    method = "dno" if name.startswith("avatars-flow") else "gradient"
    return [
        (f"{name}\nrandom", pool[:SHOWN], score[:SHOWN]),
        (f"{name}\nbest of {POOL}", pool[best], score[best]),
        (f"{name}\n{method}", torch.stack([e.sample for e in winners]), torch.tensor([e.score for e in winners])),
    ]


def main() -> None:
    """Draw each row from the most to the least usual, score and realism under each picture."""
    made = {name: g for name, g in generators().items() if name != "avatars-vae"}
    lines = [(g, *row) for name, g in made.items() for row in rows(name, g)]
    figure = Figure(figsize=(SHOWN * 0.95 + 1.2, len(lines) * 1.35), layout="constrained")
    axes = figure.subplots(len(lines), SHOWN, squeeze=False)
    for line, (generator, title, samples, score) in zip(axes, lines, strict=True):
        p = zmax.realism(generator).of(samples)
        for axis, i in zip(line, p.argsort(descending=True).tolist(), strict=False):
            axis.imshow(samples[i].permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
            colour = "#b00020" if p[i] < 0.05 else "#222222"
            axis.set_xlabel(f"{float(score[i]):.1f} · {float(p[i]):.2f}", fontsize=8, color=colour, labelpad=2)
        for axis in line:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(title, fontsize=8)
    figure.savefig(IMAGE, dpi=110)


if __name__ == "__main__":
    main()
