"""Rank-based methods see the order of scores alone."""

from __future__ import annotations

import pytest
import torch

from zmax.core.methods import registry
from zmax.search import CMA, ES, SNES, Gradient, Random, SphereCMA


@pytest.mark.parametrize(
    "method",
    [*(method(retract=retract) for method in (CMA, SNES) for retract in (True, False)), SphereCMA(), ES()],
    ids=lambda m: f"{type(m).__name__}{'' if getattr(m, 'retract', True) else ' free'}",
)
@pytest.mark.parametrize("monotone", [torch.asinh, torch.exp, lambda s: s**3 - 5], ids=["asinh", "exp", "cube"])
def test_a_monotone_transform_of_the_score_changes_nothing(bench, method, monotone):
    def score(u):
        return 0.1 * bench.rosenbrock(u).clamp(min=-5000) / 50 + u[:, 0]

    plain = bench.climb(method, score, dim=10, calls=1000)
    moved = bench.climb(method, lambda u: monotone(score(u)), dim=10, calls=1000)
    assert all(torch.equal(a, b) for a, b in zip(plain.path, moved.path, strict=True))


def test_the_registry_gives_the_classes():
    assert {name: registry.load(name) for name in ("random", "gradient", "cma", "snes")} == {
        "random": Random,
        "gradient": Gradient,
        "cma": CMA,
        "snes": SNES,
    }
