"""What finetunes of avatars gain by the held-out judge against how far they go, beside best-of-n of their parent.

`python -m benchmarks.finetune_frontier` reads what `benchmarks.finetune_avatars` has written, and makes a table and the
picture of `docs/finetune-benchmark.md` in about a minute on one core.
"""

from __future__ import annotations

import json
import math
from functools import cache
from statistics import mean
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

import zmax
from benchmarks.finetune_avatars import BLACK, PAGE, RESULT, draws
from benchmarks.pages import fill, interval, markdown
from zmax.results.frontier import weights

IMAGE = PAGE.parent / "images" / "finetune-frontier.png"
DRAWS, MOST = 2000, 200
"""Draws of the parent, and the largest n of which the best is told: 4.3 nats."""

Row = dict[str, Any]


@cache
def best_of(name: str, label: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return KL, log n - (n - 1) / n, and the judge's mean of the best of n draws by score, for n from 1."""
    x = draws(zmax.load_generator(name), DRAWS, 6)
    score, judged = (zmax.load_score(word)(x) for word in (label, label.replace("attribute:", "attribute-judge:")))
    n = np.arange(1, MOST + 1)
    return np.log(n) - (n - 1) / n, weights(DRAWS, MOST) @ judged[score.argsort()].double().numpy()


def path(row: Row) -> list[tuple[float, float]]:
    """Return KL and the judge's mean of each look whose KL is known."""
    return [(kl, judged) for kl, judged in row["frontier"] if kl is not None and math.isfinite(kl)]


def groups() -> dict[tuple[str, str, str], list[Row]]:
    """Return the rows of finetunes to an attribute by generator, score and method."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in map(json.loads, RESULT.read_text().splitlines()):
        if "attribute:" in row["score"] and len(path(row)) > 1:
            found.setdefault((row["generator"], row["score"], row["method"]), []).append(row)
    return dict(sorted(found.items()))


def table() -> str:
    """Return how the last look of each finetune compares with best-of-n at the same KL."""
    cells: list[list[object]] = [
        ["generator", "score", "tuner", "KL", "judge", "best-of-n's judge at that KL", "seeds"]
    ]
    for (name, score, method), rows in groups().items():
        kl, value = best_of(name, score.removeprefix(BLACK))
        ends = [path(row)[-1] for row in rows]
        beside = [float(np.interp(at, kl, value)) for at, _ in ends if at <= kl[-1]]
        told = f"{mean(beside):.2f}" if beside else f"n above {MOST}; {value[-1]:.2f} at {kl[-1]:.1f} nats"
        numbers = [interval([end[i] for end in ends], digits) for i, digits in ((0, 1), (1, 2))]
        cells.append([name, score, f"`{method}`", *numbers, told, len(rows)])
    return markdown(cells)


def picture() -> None:
    """Draw the looks of each finetune to glasses, a panel for each generator, over the line of best-of-n."""
    found = {key: rows for key, rows in groups().items() if key[1].removeprefix(BLACK) == "attribute:glasses"}
    names = sorted({name for name, _, _ in found})
    figure = Figure(figsize=(4.2 * len(names), 3.6), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        axis.plot(*best_of(name, "attribute:glasses"), color="#888888", label="best of n")
        here = {key[1:]: rows for key, rows in found.items() if key[0] == name}
        for colour, ((score, method), rows) in enumerate(here.items()):
            word = method + (", black box" if score.startswith(BLACK) else "")
            for i, row in enumerate(rows):
                axis.plot(*zip(*path(row), strict=True), f"C{colour}.-", lw=0.9, ms=4, label="" if i else word)
        axis.set_xscale("symlog", linthresh=1)
        axis.set_title(name)
        axis.set_xlabel("KL(child || parent), nats")
        axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("held-out judge, log-odds")
    figure.savefig(IMAGE, dpi=110)


def main() -> None:
    """Make the table and the picture."""
    torch.set_num_threads(1)
    picture()
    fill(PAGE, {"frontier": table()})


if __name__ == "__main__":
    main()
