"""Every tuner against the tilted law it should find: earth mover's distance against score calls, three temperatures.

`python -m benchmarks.finetune_exact` writes `results/finetune_exact.json` and the tables in `docs/finetune-exact.md`,
in about 25 minutes on one core; with names of tuners it runs those and keeps the other rows. G is a flow model of six
modes on a ring, a small network trained in seconds; S is linear, and tilts it to a law in closed form.
"""

from __future__ import annotations

import json
import math
import sys
from itertools import combinations
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

import zmax
from benchmarks.pages import fill, interval, markdown
from zmax.core.rng import stream
from zmax.core.tuner import Tuner, parameters_of, tuners
from zmax.run.descent import unpacked
from zmax.run.progress import Silent
from zmax.run.tuning import job_child
from zmax.store import Journal
from zmax.testing import GaussianMixture, gaussian_mixture, quadratic_score, trained

HERE = Path(__file__).parent
RESULT = HERE / "results" / "finetune_exact.json"
PAGE = HERE.parent / "docs" / "finetune-exact.md"

SEEDS, CALLS, LOOKS, FRESH, STEPS = 3, 3000, 4, 16, 20
DRIFTS = (0.5, 1.0, 2.0)
"""KL(tilted || parent) in nats that the temperatures are chosen for."""

AWAY = 1e4
"""What is larger says only that nothing held it back."""

POINTS, PAIRS = 500, 4
"""Points in a cloud, and clouds of each law."""

SCORE = quadratic_score(b=[1.0, 0.5])

Row = dict[str, Any]


def ring() -> GaussianMixture:
    """Return six modes on a circle."""
    angle = torch.arange(6).double() * math.pi / 3
    means = 1.5 * torch.stack([angle.cos(), angle.sin()], 1)
    return gaussian_mixture(means, 0.25**2 * torch.eye(2).expand(6, 2, 2), torch.ones(6))


def temperature(law: GaussianMixture, drift: float) -> float:
    """Return the temperature at which the tilted law is so many nats from the law, by bisection."""
    low, high = 1e-2, 1e2
    for _ in range(30):
        middle = math.sqrt(low * high)
        tilted = law.tilt(SCORE, middle)
        x = tilted.sample(5000, stream(0, "drift"))
        far = float((tilted.log_prob(x) - law.log_prob(x)).mean())
        low, high = (middle, high) if far > drift else (low, middle)
    return math.sqrt(low * high)


def distance(one: Tensor, other: Tensor) -> float:
    """Return the earth mover's distance of two clouds of as many points."""
    cost = torch.cdist(one.double(), other.double()).numpy()
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].mean())


def made(name: str, degree: float) -> Tuner[Any]:
    """Return a tuner with its defaults, at that temperature where it has one."""
    kind: Any = tuners.load(name)
    found: Tuner[Any] = kind(temperature=degree) if "temperature" in parameters_of(kind) else kind()
    return found


class Kept(Silent):
    """A listener that keeps the weights of every look, of which a run keeps those alone that may be returned."""

    def __init__(self, folder: Path) -> None:
        """Begin with no look of the run in that folder."""
        self.folder = folder
        self.blobs: list[bytes] = []

    def noted(self, line: str) -> None:
        """Read the weights of a look that was just written down."""
        if line.startswith("look "):
            blob = Journal.open(self.folder).blob(f"weights {len(self.blobs)}")
            assert blob is not None, "a look is written with its weights"
            self.blobs.append(blob)


def drawn(generator: zmax.Generator, seed: int) -> Tensor:
    """Return samples of a generator."""
    with torch.no_grad():
        x = generator.decode(generator.space.latents(generator.space.sample(POINTS * PAIRS, stream(seed, "judged"))))
    assert isinstance(x, Tensor)
    return x.float()


def run(name: str, drift: float, seed: int) -> Row:
    """Return how far the samples of each look are from the tilted law, and what the last ones are like."""
    law = ring()
    degree = temperature(law, drift)
    tilted, parent = law.tilt(SCORE, degree), trained(law, steps=STEPS)
    exact = [tilted.sample(POINTS, stream(seed, "exact", i)).float() for i in range(PAIRS)]
    tuner = made(name, degree)
    with TemporaryDirectory() as folder:
        weights = Kept(Path(folder) / "run")
        result = zmax.finetune(
            parent,
            SCORE,
            tuner,
            CALLS,
            seed=seed,
            keep="last",
            looks=LOOKS,
            fresh=FRESH,
            out=weights.folder,
            progress=weights,
        )
        looks, child = result.rounds.looks, job_child(tuner, parent, result.spec)
        far = []
        for blob in weights.blobs:
            child.load(unpacked(blob))
            x = drawn(child.generator, seed)
            far.append(mean(distance(a, b) for a, b in zip(x.split(POINTS), exact, strict=True)))
        assert len(far) == len(looks), "one for each"
    return {
        "calls": [look.score_calls for look in looks],
        "emd": far,
        "floor": mean(distance(a, b) for a, b in combinations(exact, 2)),
        "kl": looks[-1].kl,
        "score": float(SCORE(x).mean() - SCORE(tilted.mean[None].float())),
        "width": float((x.double().T.cov().det() / tilted.cov.det()) ** 0.25),
        "seconds": result.ledger.seconds,
    }


def tables(rows: dict[str, dict[str, list[Row]]]) -> dict[str, str]:
    """Return the table of the last looks, and that of the way there."""
    names = sorted(rows, key=lambda name: mean(r["emd"][-1] / r["floor"] for each in rows[name].values() for r in each))
    heads = [f"{drift:g} nats" for drift in DRIFTS]
    last = [
        ["tuner", *heads, "width", "seconds a run"],
        *(
            [
                f"`{name}`",
                *(shown([r["emd"][-1] / r["floor"] for r in rows[name][str(d)]]) for d in DRIFTS),
                shown([mean(r["width"] for each in rows[name].values() for r in each)]),
                f"{mean(r['seconds'] for each in rows[name].values() for r in each):.0f}",
            ]
            for name in names
        ),
    ]
    way = [["tuner", *(f"{part} of {LOOKS}" for part in range(LOOKS + 1)), "score", "KL"]]
    for name in names:
        each = rows[name]["1.0"]
        shares = [mean(r["emd"][min(k, len(r["emd"]) - 1)] / r["floor"] for r in each) for k in range(LOOKS + 1)]
        far = shown([mean(r["score"] for r in each)]), shown([mean(r["kl"] for r in each)])
        way.append([f"`{name}`", *(shown([share]) for share in shares), *far])
    return {"last": markdown(last), "way": markdown(way)}


def shown(values: list[float]) -> str:
    """Return numbers with their interval, or that they have left all bounds."""
    return "runs away" if max(map(abs, values)) > AWAY else interval(values, 2)


def main() -> None:
    """Run, write the figures, and put the tables into the docs."""
    torch.set_num_threads(1)
    names = [name for name in tuners if name in sys.argv[1:]] or list(tuners)
    rows = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name in names:
        rows[name] = {str(drift): [run(name, drift, seed) for seed in range(SEEDS)] for drift in DRIFTS}
        shown = {d: [round(r["emd"][-1] / r["floor"], 2) for r in each] for d, each in rows[name].items()}
        print(name, shown, flush=True)
        RESULT.write_text(json.dumps({key: rows[key] for key in sorted(rows)}, indent=1) + "\n")
    fill(PAGE, tables(rows))


if __name__ == "__main__":
    main()
