"""Rank-based methods see the order of scores alone."""

from __future__ import annotations

import itertools

import pytest
import torch

from zmax.core.methods import registry
from zmax.core.proposal import Evaluation
from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.kit.ranks import by_rank, mean_ranks
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


@pytest.mark.parametrize(
    "method", [CMA(population=6), SNES(population=6), CMA(population=6, retract=False)], ids=["cma", "snes", "free cma"]
)
@pytest.mark.parametrize("first", [True, False], ids=["first round", "later"])
def test_equal_scores_count_as_the_mean_of_all_their_orders(method, first):
    """The mean of the search law is linear in the weights of ranks, so this is exact."""
    state = method.init(Space.of((4,)), stream(0))
    told = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0, 0.0], dtype=torch.float64)
    if not first:
        state = method.tell(state, evaluation(told[: len(state.u)]))
    marks = torch.tensor([5.0, 3.0, 5.0, 3.0, 5.0, 1.0], dtype=torch.float64)[: len(state.u)]
    tied = method.tell(state, evaluation(marks)).mean.double()
    means = []
    for order in itertools.product(itertools.permutations(range(3)), itertools.permutations(range(2))):
        places = [*order[0], *order[1], 0]
        where = [0, 2, 4, 1, 3, 5]
        tiny = torch.zeros(6, dtype=torch.float64).index_put((torch.tensor(where),), torch.tensor(places).double())
        means.append(method.tell(state, evaluation(marks + 1e-6 * tiny[: len(marks)])).mean.double())
    assert float((means[0] - means[-1]).norm()) > 0.05
    if not (first and getattr(method, "retract", False)):  # there the mean is moved to the shell
        torch.testing.assert_close(tied, torch.stack(means).mean(0), atol=1e-5, rtol=0)


def evaluation(score):
    return Evaluation(score, torch.ones(len(score), dtype=torch.bool), None, range(len(score)))


def test_ranks_are_shared_whatever_the_order():
    score = torch.randint(1, 6, (200,), generator=stream(1)).double()
    order = torch.randperm(200, generator=stream(2))
    assert torch.equal(mean_ranks(score)[order], mean_ranks(score[order]))
    assert float(mean_ranks(score).sum()) == 199 * 100
    weight = by_rank(score, 0.1)
    assert all(len(set(weight[score == mark].tolist())) == 1 for mark in range(1, 6))


def test_the_registry_gives_the_classes():
    assert {name: registry.load(name) for name in ("random", "gradient", "cma", "snes")} == {
        "random": Random,
        "gradient": Gradient,
        "cma": CMA,
        "snes": SNES,
    }
