"""What a method says that it does, and whether what it did on an exact problem bears that out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.generator import Generator
from zmax.core.rng import stream
from zmax.core.score import Score
from zmax.core.strategy import Population
from zmax.testing.driver import Trace

Claim = Literal["best-of-n", "maximum", "law", "prior"]
"""Beats best-of-N at equal cost; comes near the known maximum; draws from the tilted law; is best-of-N."""

MANY = 16_384
RARE = 0.2
"""Mean over five seeds of a chance that for prior draws is uniform on [0, 1]: it is lower once in 120 times."""

HARD = 0.3
"""The same where samples fail: prior draws are below it once in 16 times."""

ERRORS = 2.5
"""Root mean square of errors in units of their standard errors, which ten runs of a right law hardly ever exceed."""


def prior_scores(generator: Generator, score: Score) -> Float[Tensor, " n"]:
    """Return the scores of many prior draws."""
    space = generator.space
    u = space.sample(MANY, stream(0, "prior draws of a claim"))
    with torch.no_grad():
        return score(generator.decode(space.latents(u))).double().cpu()


def scored(trace: Trace) -> int:
    """Return how many rows of a trace were scored and did not fail."""
    return sum(int(e.ok.sum()) for e in trace.evaluations if len(e.score))


def chance(best: float, draws: int, prior: Float[Tensor, " n"]) -> float:
    r"""Return the probability that the best of so many prior draws is as good: :math:`1 - F(best)^{draws}`.

    Example:
        >>> chance(0.5, 2, torch.tensor([0.0, 0.2, 0.4, 0.6]))
        0.4375
    """
    return 1 - float((prior < best).double().mean()) ** draws


def beats_best_of_n(
    bests: Sequence[float], draws: Sequence[int], prior: Float[Tensor, " n"], rare: float = RARE
) -> None:
    """Assert that over the seeds best-of-N would hardly have done as well."""
    mean = _mean_chance(bests, draws, prior)
    assert mean < rare, f"the best of as many prior draws is as good with probability {mean:.2f}, over seeds"


def is_best_of_n(bests: Sequence[float], draws: Sequence[int], prior: Float[Tensor, " n"]) -> None:
    """Assert that over the seeds best-of-N does as well about half of the time."""
    mean = _mean_chance(bests, draws, prior)
    assert RARE < mean < 1 - RARE, f"the best of as many prior draws is as good with probability {mean:.2f}, over seeds"


def comes_near(
    bests: Sequence[float], draws: Sequence[int], prior: Float[Tensor, " n"], maximum: float, share: float
) -> None:
    """Assert that over the seeds no more than a share is left of what best-of-N leaves of the way to the maximum."""
    assert max(bests) <= maximum + 1e-5 * (1 + abs(maximum)), f"{max(bests)} exceeds the known maximum {maximum}"
    usual = sum(maximum - float(prior.quantile(0.5 ** (1 / n))) for n in draws)
    left = sum(maximum - best for best in bests) / usual
    assert left <= share, f"{left:.3f} is left of what best-of-N leaves of the way to the maximum, over {share}"


def fits_the_law(runs: Sequence[Population], mean: Float[Tensor, " d"], cov: Float[Tensor, "d d"]) -> None:
    """Assert that weighted draws have that mean and covariance, up to the standard errors that the runs show."""
    root = torch.linalg.cholesky(cov.double())
    found = torch.stack([_moments(run, mean.double(), root) for run in runs])
    errors = found.mean(0) / (found.std(0) / len(runs) ** 0.5)
    size = float(errors.square().mean().sqrt())
    assert size < ERRORS, f"moments of the draws are {size:.1f} standard errors away from the tilted law's"


def _moments(run: Population, mean: Tensor, root: Tensor) -> Tensor:
    """Return mean and second moments of the draws where the law's own are 0 and the unit matrix, less these."""
    weight = run.log_weight.double().softmax(0)
    white = torch.linalg.solve_triangular(root, (run.u.double() - mean).T, upper=False)
    second = (weight * white) @ white.T - torch.eye(len(mean), dtype=torch.float64)
    rows, columns = torch.triu_indices(*second.shape)
    return torch.cat([white @ weight, second[rows, columns]])


def _mean_chance(bests: Sequence[float], draws: Sequence[int], prior: Tensor) -> float:
    return sum(chance(best, n, prior) for best, n in zip(bests, draws, strict=True)) / len(bests)
