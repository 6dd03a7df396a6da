"""DDLS and DGflow on the 25 Gaussians and the Swiss roll: how much of a GAN's faults its discriminator puts right.

    python -m benchmarks.toy_gans    # about twelve minutes on one core; trained GANs are kept in benchmarks/build

For each of five training seeds a GAN is trained and a discriminator refitted to it (`toy_gan_training.py`); plain G,
`ddls` and `dgflow` then give some thousand samples each, through `zmax.sample`, with the seed of the training. A sample
of the 25 Gaussians is of high quality within four standard deviations of a mode, and a mode is recovered by at least
one such sample (Azadi et al., 2019, section 4.1); one of the Swiss roll, within four standard deviations of its centre
line. `W1` is the earth mover's distance between 2000 samples and 2000 fresh data; `mode share` the total variation
distance between the shares of the 25 modes and uniform.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import zmax
from benchmarks.pages import fill, interval
from benchmarks.toy_gan_training import DATA, GRID_STD, ROLL_STD, load, spiral
from zmax.core.rng import stream
from zmax.search import DDLS, DGflow

SEEDS = range(5)
POINTS, MATCHED, SHOWN, NEAR = 1000, 2000, 2500, 4
HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "toy_gans.json", HERE.parent / "docs" / "toy-gans.md"
PICTURE = HERE.parent / "docs" / "images" / "toy-gans.png"

METHODS: dict[str, tuple[Callable[[], Any], int]] = {
    "ddls": (lambda: DDLS(chains=POINTS), 100),
    "dgflow": (lambda: DGflow(batch=4 * POINTS), 0),
}
"""How to make each method, and its rounds; 0 means one flow."""


@dataclass(frozen=True)
class Row:
    """One method on one GAN."""

    data: str
    method: str
    seed: int
    samples: int
    good: float
    modes: int | None
    mode_share: float | None
    w1: float
    score_gradients: int
    nfe: int
    nfe_backward: int
    seconds: float


def good(data: str, x: Tensor) -> Tensor:
    """Say which samples are of high quality."""
    if data == "Swiss roll":
        return torch.cdist(x, spiral(torch.linspace(0, 1, 4000))).min(1).values < NEAR * ROLL_STD
    return (x - x.round().clamp(-2, 2)).norm(dim=1) < NEAR * GRID_STD


def shares(x: Tensor) -> Tensor:
    """Return the share of the samples nearest to each of the 25 modes."""
    mode = ((x.round().clamp(-2, 2) + 2) @ torch.tensor([5.0, 1.0])).long()
    return mode.bincount(minlength=25) / len(x)


def earth_mover(x: Tensor, y: Tensor) -> float:
    """Return the mean distance of the best matching."""
    from scipy.optimize import linear_sum_assignment

    distance = torch.cdist(x, y).numpy()
    return float(distance[linear_sum_assignment(distance)].mean())


def measured(data: str, method: str, seed: int, x: Tensor, ledger: Any) -> Row:
    """Measure one method's samples."""
    rng = stream(seed, "measure", data, method)
    x = x[torch.randperm(len(x), generator=rng)]
    fine, grid = good(data, x), data != "Swiss roll"
    return Row(
        data=data,
        method=method,
        seed=seed,
        samples=len(x),
        good=float(fine.float().mean()),
        modes=int((shares(x[fine]) > 0).sum()) if grid else None,
        mode_share=float((shares(x) - 1 / 25).abs().sum() / 2) if grid else None,
        w1=earth_mover(x[:MATCHED], DATA[data](MATCHED, rng)),
        score_gradients=ledger.score_grads if ledger else 0,
        nfe=ledger.nfe if ledger else len(x),
        nfe_backward=ledger.nfe_backward if ledger else 0,
        seconds=ledger.seconds if ledger else 0.0,
    )


def sampled(method: str, G: nn.Module, D: nn.Module, seed: int) -> tuple[Tensor, Any]:
    """Return a method's samples and what they cost."""
    make, rounds = METHODS[method]
    strategy = make()
    batch = getattr(strategy, "batch", POINTS)
    rounds = rounds or strategy.steps + 1
    generator = zmax.generator(G, shape=(2,), modality="vector", differentiable=True, name="toy GAN")
    logit = zmax.score(lambda x: D(x)[:, 0], differentiable=True, name="logit")
    budget = batch * rounds + 64  # the reference batch is charged
    r = zmax.sample(generator, logit, method=strategy, budget=budget, seed=seed, batch_size=batch)
    assert r.population is not None
    return G(r.population.u.float()), r.ledger


def runs(data: str, seed: int) -> tuple[list[Row], dict[str, Tensor]]:
    """Run every method on one GAN; return the rows and some samples of each."""
    G, D = load(data, seed)
    rng = stream(seed, "plain", data)
    points: dict[str, tuple[Tensor, Any]] = {
        "data": (DATA[data](4 * POINTS, rng), None),
        "plain G": (G(torch.randn(4 * POINTS, 2, generator=rng)), None),
    }
    points |= {method: sampled(method, G, D, seed) for method in METHODS}
    rows = [measured(data, method, seed, x, ledger) for method, (x, ledger) in points.items()]
    for row in rows:
        print(f"{data} seed {seed} {row.method}: {row.good:.4f} {row.modes} W1 {row.w1:.3f} in {row.seconds:.0f} s")
    sys.stdout.flush()
    return rows, {method: x for method, (x, _) in points.items()}


def table(rows: list[Row]) -> str:
    """Return the Markdown table."""
    lines = [
        "| data | samples from | high quality, % | modes | mode share | W1 to the data | gradients a sample | NFE |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for data, method in dict.fromkeys((r.data, r.method) for r in rows):
        mine = [r for r in rows if (r.data, r.method) == (data, method)]
        first = mine[0]
        nfe = f"{first.nfe:,}" + (f" + {first.nfe_backward:,} backward" if first.nfe_backward else "")
        cells = [
            data,
            method,
            interval([100 * r.good for r in mine], 2),
            interval([float(r.modes) for r in mine if r.modes is not None], 1) if first.modes is not None else "",
            interval([r.mode_share for r in mine if r.mode_share is not None], 2) if first.modes is not None else "",
            interval([r.w1 for r in mine], 3),
            f"{statistics.mean(r.score_gradients / r.samples for r in mine):.0f}" if first.score_gradients else "",
            "" if method == "data" else nfe,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def picture(shown: dict[str, dict[str, Tensor]]) -> None:
    """Draw the samples of the first seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(shown), len(METHODS) + 2, figsize=(11, 5.6), sharex="row", sharey="row")
    for line, (data, methods) in zip(axes, shown.items(), strict=True):
        for axis, (method, x) in zip(line, methods.items(), strict=True):
            axis.scatter(*x[:SHOWN].T.numpy(), s=1, alpha=0.5, linewidths=0, color="#1f4e79")
            axis.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal", xticks=[], yticks=[])
            axis.set_title(f"{method}: {100 * float(good(data, x).float().mean()):.1f} %", fontsize=10)
        line[0].set_ylabel(data, fontsize=10)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    """Run, write the figures, and put the table into the docs."""
    torch.set_num_threads(1)
    rows: list[Row] = []
    shown: dict[str, dict[str, Tensor]] = {}
    for data in DATA:
        for seed in SEEDS:
            new, samples = runs(data, seed)
            rows += new
            shown.setdefault(data, samples)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n")
    fill(PAGE, {"toy gans": table(rows)})
    picture(shown)
    print(table(rows))


if __name__ == "__main__":
    main()
