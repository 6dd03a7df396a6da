"""Rank-based methods see the order of scores alone."""

from __future__ import annotations

import pytest
import torch

from zmax.search import CMA, SNES, Gradient, Random, methods


@pytest.mark.parametrize("retract", [True, False])
@pytest.mark.parametrize("method", [CMA, SNES])
@pytest.mark.parametrize("monotone", [torch.asinh, torch.exp, lambda s: s**3 - 5], ids=["asinh", "exp", "cube"])
def test_a_monotone_transform_of_the_score_changes_nothing(bench, method, retract, monotone):
    def score(u):
        return 0.1 * bench.rosenbrock(u).clamp(min=-5000) / 50 + u[:, 0]

    plain = bench.climb(method(retract=retract), score, dim=10, calls=1000)
    moved = bench.climb(method(retract=retract), lambda u: monotone(score(u)), dim=10, calls=1000)
    assert all(torch.equal(a, b) for a, b in zip(plain.path, moved.path, strict=True))


def test_the_registry_gives_the_classes():
    assert {name: methods.load(name) for name in ("random", "gradient", "cma", "snes")} == {
        "random": Random,
        "gradient": Gradient,
        "cma": CMA,
        "snes": SNES,
    }
