"""The log-ratio of two models is found by the errors of their denoisers."""

from __future__ import annotations

import pytest
import torch

from zmax.core.rng import stream
from zmax.kit.log_ratio import log_ratio
from zmax.testing import gaussian_mixture, quadratic_score

LAW = gaussian_mixture([[-1.2, 0.0], [1.0, 0.5]], 0.3**2 * torch.eye(2).expand(2, 2, 2), [0.4, 0.6])


@pytest.mark.parametrize("schedule", ["rectified-flow", "vp-linear"])
def test_exact_denoisers_give_the_exact_log_ratio(schedule: str) -> None:
    tilted = LAW.tilt(quadratic_score(A=[[0.5, 0.0], [0.0, 0.5]], b=[1.0, 0.5]), 1.0)
    child, parent = (law.generator(steps=10, eta=0.0, schedule=schedule) for law in (tilted, LAW))
    x = torch.tensor([[1.0, 0.5], [-1.2, 0.1], [0.7, 0.9]], dtype=torch.float64)
    found = torch.stack([log_ratio(child, parent, x, 60, stream(seed, "ratio")) for seed in range(6)])
    exact = tilted.log_prob(x) - LAW.log_prob(x)
    error = found.std(0) / 6**0.5
    assert (error < 0.2).all()
    assert ((found.mean(0) - exact).abs() < 4 * error + 0.02).all()


def test_a_model_is_as_likely_as_itself() -> None:
    generator = LAW.generator(steps=10, eta=0.0, schedule="rectified-flow")
    assert not log_ratio(generator, generator, LAW.sample(5, stream(0)), 4, stream(1)).any()
