"""Every posterior sampler against laws in closed form, a calibration test, and annealed runs against known maximisers.

`python -m benchmarks.exactness` writes `results/exactness.json` and the tables in `docs/exactness.md`, in about six
minutes on one core; with names of samplers or parts it runs those and keeps the other rows. The annealing schedule and
the defaults of the methods were chosen on other problems and seeds (from 9000 on).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import zmax
from benchmarks.pages import fill
from zmax.core.rng import stream
from zmax.core.strategy import Strategy
from zmax.search import HMC, ISIR, PCN, Elliptical, Langevin, Tempering
from zmax.testing import gaussian_mixture, linear_gaussian, quadratic_score
from zmax.testing.driver import evaluate

HERE = Path(__file__).parent
RESULT = HERE / "results" / "exactness.json"
PAGE = HERE.parent / "docs" / "exactness.md"

SEEDS, CALLS = 20, 16_000
REPEATS, CALIBRATION_CALLS, RANKED = 96, 3840, 7
RUNS, ANNEALED_CALLS, NEAR = 60, (2000, 5000), 0.1

Row = dict[str, Any]
Make = Callable[[float | None, int], Strategy[Any]]

SAMPLERS: dict[str, Make] = {
    "elliptical": lambda t, n: Elliptical(temperature=t, chains=n),
    "pcn": lambda t, n: PCN(temperature=t, chains=n),
    "isir": lambda t, n: ISIR(temperature=t, chains=n),
    "tempering": lambda t, n: Tempering(temperature=t, ladders=n // 4, rungs=4),
    "langevin": lambda t, n: Langevin(temperature=t, chains=n),
    "hmc": lambda t, n: HMC(temperature=t, chains=n),
}


def run(
    method: Strategy[Any], generator: zmax.Generator, score: zmax.Score, calls: int, seed: int
) -> tuple[Any, list[float]]:
    """Return the state after so many score calls, and the best score seen up to each of them."""
    state, spent, best = method.init(generator.space, stream(seed, "method")), 0, [-math.inf]
    while spent < calls:
        proposal = method.ask(state)
        evaluation = evaluate(proposal, generator, score, first_id=spent)
        state, spent = method.tell(state, evaluation), spent + len(proposal)
        best += [max(best[-1], float(evaluation.score.max()))] * len(proposal)
    return state, best


def drawn(name: str, generator: zmax.Generator, score: zmax.Score, calls: int, seed: int, *, chains: int) -> Tensor:
    """Return the draws of a run at temperature 1."""
    method = SAMPLERS[name](1.0, chains)
    population = method.draws(run(method, generator, score, calls, seed)[0])
    assert population is not None
    return population.u.double()


def moments(name: str, dim: int = 8) -> Row:
    """Mean and covariance of a tilted Gaussian whose precision spans a factor of about ten."""
    rng = stream(1, "exactness", dim)
    mixing = torch.diag(torch.linspace(0.5, 3.0, dim).double()) + torch.randn(dim, dim, generator=rng).double() / dim
    law, score = linear_gaussian(mixing), quadratic_score(torch.eye(dim), torch.randn(dim, generator=rng).double())
    exact = law.tilt(score)
    means, covs = [], []
    for seed in range(SEEDS):
        u = drawn(name, law.generator(), score, CALLS, seed, chains=64)
        white = torch.linalg.solve(exact.factor, (u - exact.mean).T)
        means.append(white.mean(1))
        covs.append(_excess(white))
    mean, cov = torch.stack(means), torch.stack(covs)
    upper = torch.triu_indices(dim, dim)
    return {
        "mean": _rms(mean),
        "mean_over_seeds": _rms(mean.mean(0)),
        "cov": _rms(cov),
        "cov_over_seeds": _rms(cov.mean(0)),
        "p": _p_unbiased(torch.cat([mean, cov[:, upper[0], upper[1]]], dim=1)),
    }


def modes(name: str) -> Row:
    """Two modes, 0.7 to 0.3, six standard deviations apart: weight of the first, mean and covariance of all."""
    law = gaussian_mixture([[1.2, 0.0], [-1.2, 0.4]], 0.4**2 * torch.eye(2).expand(2, 2, 2), [0.7, 0.3])
    generator = linear_gaussian(torch.eye(2)).generator()
    score = zmax.score(lambda x: law.log_prob(x) - generator.space.log_prob(x), differentiable=True, name="tilt")
    lower = torch.linalg.cholesky(law.cov)
    rows = []
    for seed in range(SEEDS):
        u = drawn(name, generator, score, CALLS, seed, chains=64)
        white = torch.linalg.solve(lower, (u - law.mean).T)
        weight = float(law.log_joint(u).softmax(1)[:, 0].mean())
        rows.append([weight, *white.mean(1).tolist(), *_excess(white).flatten().tolist()])
    found = torch.tensor(rows, dtype=torch.float64)
    return {
        "weight": float(found[:, 0].mean()),
        "weight_sd": float(found[:, 0].std()),
        "mean": _rms(found[:, 1:3]),
        "cov": _rms(found[:, 3:]),
        "p": _p_unbiased(found[:, [0, 1, 2, 3, 4, 6]] - torch.tensor([0.7, 0, 0, 0, 0, 0])),
    }


def calibration(name: str, dim: int = 4, sigma: float = 0.5) -> Row:
    """Simulation-based calibration: p-values of uniform ranks for u_1, |u|^2 and the score at the truth."""
    from scipy.stats import chisquare

    rng = stream(2, "exactness", dim)
    w1, w2 = torch.randn(dim, 16, generator=rng), torch.randn(16, 6, generator=rng)
    decode = _Decoder(w1, w2)
    generator = zmax.generator(decode, shape=(dim,), modality="vector", differentiable=True)
    counts = torch.zeros(3, RANKED + 1)
    for repeat in range(REPEATS):
        rng = stream(repeat, "truth")
        truth = torch.randn(1, dim, generator=rng)
        seen = decode(truth) + sigma * torch.randn(1, 6, generator=rng)

        def likelihood(x: Tensor, seen: Tensor = seen) -> Tensor:
            return -(x - seen).square().sum(1) / (2 * sigma**2)

        score = zmax.score(likelihood, differentiable=True, name="log-likelihood")
        u = drawn(name, generator, score, CALIBRATION_CALLS, repeat, chains=32).float()
        u = torch.cat([truth, u[torch.linspace(0, len(u) - 1, RANKED).long()]])
        for k, value in enumerate((u[:, 0], u.square().sum(1), likelihood(decode(u)).detach())):
            counts[k, int((value[1:] < value[0]).sum())] += 1
    values = [float(chisquare(row.numpy()).pvalue) for row in counts]
    return {"p_first": values[0], "p_square": values[1], "p_score": values[2], "ranks": counts.int().tolist()}


def annealed(name: str) -> Row:
    """Runs that reach the global maximum of a mixture's log density; a new mixture each run."""
    generator = linear_gaussian(torch.eye(2)).generator()
    left = []
    for seed in range(RUNS):
        law, top = _peaks(seed)
        score = zmax.score(law.log_prob, differentiable=True, name="log-density")
        best = run(SAMPLERS[name](None, 16), generator, score, ANNEALED_CALLS[-1], seed)[1]
        left.append([top - best[calls] for calls in ANNEALED_CALLS])
    gaps = torch.tensor(left)
    found = (gaps < NEAR).sum(0).tolist()
    return {
        "found": found,
        "runs": RUNS,
        "interval": [wilson(n, RUNS) for n in found],
        "left": gaps.median(0).values.tolist(),
    }


class _Decoder(torch.nn.Module):
    def __init__(self, w1: Tensor, w2: Tensor) -> None:
        super().__init__()
        self.w1, self.w2 = w1, w2

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z @ self.w1 / self.w1.shape[0] ** 0.5) @ self.w2 / self.w2.shape[0] ** 0.5


def _peaks(seed: int) -> tuple[Any, float]:
    """Return a mixture of six peaks drawn from the prior, the highest plausible and 2 * NEAR above the next."""
    rng, space = stream(seed, "peaks"), zmax.Space.of((2,))
    while True:
        means = space.sample(6, rng).double()
        weights = torch.rand(6, generator=rng).double() + 0.5
        law = gaussian_mixture(means, 0.15**2 * torch.eye(2).expand(6, 2, 2), weights)
        best, heights = law.argmax()[None], law.log_prob(means).sort().values
        alone = float(heights[-1] - heights[-2]) > 2 * NEAR
        if alone and float(space.plausibility(best.float())) > 0.05:
            return law, float(law.log_prob(best))


def _excess(white: Tensor) -> Tensor:
    """Return the second moment about the exact mean, less the identity that it should be."""
    return white @ white.T / white.shape[1] - torch.eye(len(white), dtype=white.dtype)


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def _p_unbiased(errors: Tensor) -> float:
    """Return the p-value, after Bonferroni, of the largest t statistic that the errors (seeds, statistics) give."""
    from scipy.stats import t

    n, k = errors.shape
    largest = float((errors.mean(0) / (errors.std(0) / n**0.5)).abs().max())
    return min(1.0, float(2 * k * t.sf(largest, n - 1)))


def _shown(p: float) -> str:
    return f"{p:.2f}" if p >= 0.001 else "< 0.001"


def wilson(found: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share."""
    p, scale = found / n, 1 + z**2 / n
    centre, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (centre - half) / scale, min(1.0, (centre + half) / scale)


PARTS: dict[str, Callable[[str], Row]] = {
    "moments": moments,
    "modes": modes,
    "calibration": calibration,
    "annealed": annealed,
}


def tables(rows: dict[str, dict[str, Row]]) -> dict[str, str]:
    """Return one Markdown table a part."""
    heads = {
        "moments": "| method | mean, one run | mean, all runs | covariance, one run | covariance, all runs | p |",
        "modes": "| method | weight of the first mode (0.7) | mean, one run | covariance, one run | p |",
        "calibration": "| method | p of $u_1$ | p of $\\lVert u \\rVert^2$ | p of S |",
        "annealed": "| method | found, 2,000 calls | 95 % interval | found, 5,000 calls | 95 % interval |",
    }
    lines: dict[str, Callable[[Row], list[str]]] = {
        "moments": lambda r: [
            *(f"{r[k]:.3f}" for k in ("mean", "mean_over_seeds", "cov", "cov_over_seeds")),
            _shown(r["p"]),
        ],
        "modes": lambda r: [
            f"{r['weight']:.3f} ± {r['weight_sd']:.3f}",
            *(f"{r[k]:.3f}" for k in ("mean", "cov")),
            _shown(r["p"]),
        ],
        "calibration": lambda r: [f"{r[k]:.2f}" for k in ("p_first", "p_square", "p_score")],
        "annealed": lambda r: [
            cell
            for found, (low, high) in zip(r["found"], r["interval"], strict=True)
            for cell in (f"{found} of {r['runs']}", f"{100 * low:.0f} to {100 * high:.0f} %")
        ],
    }
    return {
        part: "\n".join(
            [head, "|" + "---|" * (head.count("|") - 1)]
            + [f"| {name} | " + " | ".join(lines[part](rows[part][name])) + " |" for name in rows[part]]
        )
        for part, head in heads.items()
    }


def main() -> None:
    """Run, write the figures, and put the tables into the docs."""
    torch.set_num_threads(1)
    names = [name for name in SAMPLERS if name in sys.argv[1:]] or list(SAMPLERS)
    parts = [part for part in PARTS if part in sys.argv[1:]] or list(PARTS)
    old = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    rows: dict[str, dict[str, Row]] = {part: dict(old.get(part, {})) for part in PARTS}
    for part, name in product(parts, names):
        rows[part][name] = PARTS[part](name)
        print(part, name, {k: v for k, v in rows[part][name].items() if k != "ranks"}, flush=True)
        _write(rows)


def _write(rows: dict[str, dict[str, Row]]) -> None:
    rows = {part: {name: rows[part][name] for name in SAMPLERS if name in rows[part]} for part in PARTS}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")
    fill(PAGE, tables(rows))


if __name__ == "__main__":
    main()
