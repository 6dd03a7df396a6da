"""TuRBO-1 on BoTorch, as in BoTorch's tutorial, from the paper.

A Gaussian process (Matern 5/2, one length scale a coordinate, standardised scores) is fitted anew each round; the next
batch is drawn by Thompson sampling among candidates inside a box around the best point, whose sides follow the length
scales. The box doubles after 3 successes in a row, halves after max(4 / batch, d / batch) failures, and when it is too
small the search starts again.

Reference: Eriksson et al. 2019, *Scalable global optimization via local Bayesian optimization*, section 2 and
appendix, https://arxiv.org/abs/1910.01739; https://botorch.org/docs/tutorials/turbo_1/
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.blackbox.harness import BlackBox

BATCH = 4
START, SHORTEST, LONGEST = 0.8, 0.5**7, 1.6
SUCCESSES = 3


@dataclass
class Region:
    """The trust region: its side and what it counts."""

    dim: int
    length: float = START
    successes: int = 0
    failures: int = 0

    def update(self, better: bool) -> None:
        """Count one round, and grow or shrink."""
        self.successes, self.failures = (self.successes + 1, 0) if better else (0, self.failures + 1)
        if self.successes == SUCCESSES:
            self.length, self.successes = min(2 * self.length, LONGEST), 0
        elif self.failures == math.ceil(max(4 / BATCH, self.dim / BATCH)):
            self.length, self.failures = self.length / 2, 0


def turbo(box: BlackBox, seed: int, half_width: float) -> None:
    """Search [-half_width, half_width]^d."""
    from botorch.utils.sampling import manual_seed

    dim = box.problem.dim
    with manual_seed(seed):
        restart = 0
        while True:
            sobol = torch.quasirandom.SobolEngine(dim, scramble=True, seed=seed + 1000 * restart)
            x = sobol.draw(2 * dim, dtype=torch.float64)
            y, region = _score(box, x, half_width), Region(dim)
            while region.length >= SHORTEST:
                new = _propose(x, y, region, sobol)
                got = _score(box, new, half_width)
                region.update(bool(got.max() > y.max() + 1e-3 * y.max().abs()))
                x, y = torch.cat([x, new]), torch.cat([y, got])
            restart += 1


def _score(box: BlackBox, x: Tensor, half_width: float) -> Tensor:
    return torch.as_tensor(np.array(box((half_width * (2 * x - 1)).numpy())))[:, None]


def _propose(x: Tensor, y: Tensor, region: Region, sobol: Any) -> Tensor:
    """Fit, then draw a batch by Thompson sampling in the trust region."""
    import gpytorch
    from botorch.fit import fit_gpytorch_mll
    from botorch.generation import MaxPosteriorSampling
    from botorch.models import SingleTaskGP
    from gpytorch.constraints import Interval

    dim = x.shape[1]
    kernel = gpytorch.kernels.ScaleKernel(
        gpytorch.kernels.MaternKernel(nu=2.5, ard_num_dims=dim, lengthscale_constraint=Interval(0.005, 4.0))
    )
    likelihood = gpytorch.likelihoods.GaussianLikelihood(noise_constraint=Interval(1e-8, 1e-3))
    targets = (y - y.mean()) / y.std()
    model = SingleTaskGP(x, targets, covar_module=kernel, likelihood=likelihood, outcome_transform=None)
    with gpytorch.settings.max_cholesky_size(float("inf")):
        fit_gpytorch_mll(gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model))
        weights = kernel.base_kernel.lengthscale.detach().squeeze()
        weights = weights / weights.log().mean().exp()
        centre = x[y.argmax()]
        low = (centre - weights * region.length / 2).clamp(0, 1)
        high = (centre + weights * region.length / 2).clamp(0, 1)
        count = min(5000, max(2000, 200 * dim))
        draws = low + (high - low) * sobol.draw(count, dtype=torch.float64)
        chance = torch.as_tensor(np.random.default_rng(len(x)).random((count, dim)))
        moved = chance <= min(20 / dim, 1.0)
        moved[~moved.any(1), len(x) % dim] = True
        candidates = torch.where(moved, draws, centre)
        with torch.no_grad():
            return MaxPosteriorSampling(model=model, replacement=False)(candidates, num_samples=BATCH)
