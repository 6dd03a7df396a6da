"""Brightness and glasses asked for together: four corners, and each alone.

    python -m benchmarks.condition_corners avatars-gan

One condition of 4,000 score calls is told both scores. Brightness is asked for at its 10th and 90th percentile, glasses
at the median log-odds of avatars that the held-out judge says wear none, or some; or one of them alone. Shown are the
brightness that came, how far it is from the request, the share that the judge says wears glasses, and realism. Rows are
added to `results/condition_corners.jsonl`, and a table of `docs/condition-benchmark.md` is made of all of them.
"""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import torch

import zmax
from benchmarks.finetune_avatars import draws, natural_share, shown
from benchmarks.pages import fill, markdown
from benchmarks.rows import keep

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "condition_corners.jsonl", HERE.parent / "docs" / "condition-benchmark.md"
GLASSES, LIGHT, JUDGE = "attribute:glasses", "brightness", "attribute-judge:glasses"
CALLS, SEEDS, FIRST, N = 4000, 3, 100, 128
"""Score calls, seeds from the first on, and samples of each request."""

BRIGHT, WEARS = {"dark": 0.1, "bright": 0.9}, {"no glasses": False, "glasses": True}


def main() -> None:
    """Run the generators that are named, or the GAN, and write the table."""
    torch.set_num_threads(1)
    cases = product(sys.argv[1:] or ["avatars-gan"], range(FIRST, FIRST + SEEDS))
    keep((row for case in cases for row in run(*case)), RESULT)
    table()


def run(name: str, seed: int) -> list[dict[str, Any]]:
    """Condition once on both scores, and measure what comes of each request."""
    x = draws(zmax.load_generator(name), 1000, 4)
    light, odds, judged = (zmax.load_score(word)(x).double() for word in (LIGHT, GLASSES, JUDGE))
    levels = {word: float(light.quantile(at)) for word, at in BRIGHT.items()}
    worn = {word: float(odds[(judged > 0) == some].median()) for word, some in WEARS.items()}
    made = zmax.condition(name, [LIGHT, GLASSES], budget=CALLS, seed=seed, progress=False)
    rows = []
    for first, second in [*product(BRIGHT, WEARS), *((word, "") for word in BRIGHT), *(("", word) for word in WEARS)]:
        wanted = ({LIGHT: levels[first]} if first else {}) | ({GLASSES: worn[second]} if second else {})
        came: Any = made.sample(N, score=wanted, seed=seed + 7)
        got, some = zmax.load_score(LIGHT)(came).double(), zmax.load_score(JUDGE)(came) > 0
        row = {"generator": name, "asked": " and ".join(filter(None, (first, second))), "seed": seed}
        row |= {"method": made.spec.method, "share": float(some.double().mean()), "light": float(got.mean())}
        row["off"] = float((got - levels[first]).abs().mean() / light.std()) if first else None
        rows.append(row | {"natural": natural_share(name, came)})
    return rows


def table() -> None:
    """Write the table of all that was run."""
    rows = [json.loads(line) for line in RESULT.read_text().splitlines()]
    cells: list[list[object]] = [
        ["generator", "method", "asked", "brightness that came", "off, in sd", "share with glasses", "natural", "seeds"]
    ]
    for name, asked in dict.fromkeys((r["generator"], r["asked"]) for r in rows):
        these = [r for r in rows if (r["generator"], r["asked"]) == (name, asked)]
        told = [shown(these, word, digits) for word, digits in (("light", 3), ("off", 2), ("share", 2), ("natural", 2))]
        cells.append([name, f"`{these[0]['method']}`", asked, *told, len(these)])
    fill(PAGE, {"corners": markdown(cells)})


if __name__ == "__main__":
    main()
