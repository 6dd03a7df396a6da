"""How the quality-diversity methods learn from a round, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from zmax.core.rng import stream
from zmax.core.space import Space
from zmax.core.strategy import Need
from zmax.kit.cma_law import constants
from zmax.search import CMAMAE, CMAMEGA
from zmax.testing import linear_gaussian, quadratic_score
from zmax.testing.driver import drive

DIM = 6
GRID = {"descriptor": lambda x: x[:, :2], "ranges": "-1:1,-1:1", "cells": 2, "floor": -1.0, "population": 8}
LEFT, RIGHT = [-0.5, -0.5], [0.5, -0.5]


def told(bench, u, score, place):
    """Return an evaluation whose samples have these descriptors."""
    samples = torch.tensor(place)
    return replace(bench.told(u, torch.tensor(score)), samples=samples)


def opened(bench, method):
    """Return the state after 64 draws which all fell into the left cell, the best of them with the score 10."""
    state = method.init(Space.of((DIM,)), stream(0))
    score = [10.0] + [0.0] * 63
    evaluation = told(bench, state.u, score, [LEFT] * 64)
    return method.tell(
        state, replace(evaluation, grad=torch.ones(64, DIM)) if Need.GRADIENT in method.needs else evaluation
    )


def test_cma_mae_moves_towards_what_improves_most_not_towards_what_scores_most(bench):
    """At rate 1 the left cell's threshold is 10: 10.6 improves by 0.6 there, 0 by 1 in an empty cell."""
    method = CMAMAE(**GRID, learning_rate=1.0, retract=False)
    state = opened(bench, method)
    score = [10.6, 0.0, 10.2, 0.5, 9.0, -0.5, 10.1, 2.0]
    place = [LEFT, RIGHT] * 4
    value = [s - (10.0 if at is LEFT else -1.0) for s, at in zip(score, place, strict=True)]
    order = torch.tensor(value).argsort(descending=True)
    w = constants(DIM, 8).weights.clamp_min(0)
    wanted = state.law.mean + state.law.sigma * (w @ state.y[order])
    after = method.tell(state, told(bench, state.u, score, place))
    torch.testing.assert_close(after.law.mean, wanted)
    assert after.archive.score.isfinite().sum() == 2


def test_cma_mae_draws_steps_whose_norms_are_those_of_its_covariance(bench):
    method = CMAMAE(**GRID, retract=False)
    state = opened(bench, method)
    for k in range(12):
        u = state.u
        state = method.tell(state, told(bench, u, (20.0 * k + u[:, 0]).tolist(), [LEFT] * len(u)))
    law = state.law.basis @ torch.diag(state.law.axes.square()) @ state.law.basis.T
    torch.testing.assert_close(state.squares, (state.y * torch.linalg.solve(law, state.y.T).T).sum(1))
    assert float((law - torch.eye(DIM)).abs().max()) > 0.1
    torch.testing.assert_close(state.u.double(), state.law.mean + state.law.sigma * state.y, rtol=1e-4, atol=1e-4)


def test_cma_mae_starts_again_from_an_elite_when_nothing_improves(bench):
    method = CMAMAE(**GRID, learning_rate=1.0, step=0.4, retract=False)
    state = opened(bench, method)
    after = method.tell(state, told(bench, state.u, [9.0] * 8, [LEFT] * 8))
    assert (after.law.sigma, after.law.round) == (0.4, 1)
    elite = after.archive.u[after.archive.filled]
    torch.testing.assert_close(after.law.mean, elite[0].double())


def branched(bench, method):
    """Return a state of CMA-MEGA at its branches, on a linear decoder and score."""
    G, S = linear_gaussian(torch.eye(DIM)).generator(), quadratic_score(b=[1.0, 0.0, 2.0, 0.0, 0.0, -1.0])
    return drive(method, G, S, 3).state


def test_cma_mega_ranks_new_cells_first_and_moves_its_centre_by_adam(bench):
    """The centre's first step of Adam has length `rate` along every axis, towards the coefficients' new mean."""
    method = CMAMEGA(**GRID, rate=0.05, retract=False)
    state = branched(bench, method)
    assert len(state.u) == 8
    filled = replace(
        state.archive,
        score=torch.tensor([10.0, -torch.inf, -torch.inf, -torch.inf]).double(),
        threshold=torch.tensor([10.0, -1.0, -1.0, -1.0]).double(),
    )
    law = replace(state.law, mean=torch.tensor([0.5, -0.2, 0.1]).double())
    state = replace(state, archive=filled, law=law)
    score, place = [30.0, 0.0, 25.0, 1.0, 3.0, -2.0, 20.0, 2.0], [LEFT, RIGHT] * 4
    after = method.tell(state, told(bench, state.u, score, place))
    order = [7, 3, 1, 0, 2, 6, 5, 4]  # new cells by value; then improvements; then the rest, by value
    w = constants(len(state.law.mean), 8).weights.clamp_min(0)
    g = (state.law.mean + state.law.sigma * (w @ state.y[order])) @ state.slopes
    torch.testing.assert_close(after.first, 0.1 * g)
    torch.testing.assert_close(after.second, 0.001 * g.square())
    moved = after.centre - state.centre
    torch.testing.assert_close(moved, 0.05 * g.sign(), rtol=1e-3, atol=1e-5)
    assert after.age == 1


def test_cma_mega_leaves_a_centre_whose_branches_improve_nothing(bench):
    method = CMAMEGA(**GRID, retract=False)
    state = branched(bench, method)
    after = method.tell(state, told(bench, state.u, [-5.0] * 8, [LEFT] * 8))
    assert (after.age, after.law.sigma, after.law.round) == (0, 0.3, 1)
    assert bool((after.archive.u[after.archive.filled] == after.u[0]).all(1).any())


@pytest.mark.parametrize("best", [4, 40])
def test_cma_mega_sets_out_from_the_best_of_its_prior_draws(bench, best):
    method = CMAMEGA(**GRID, retract=False)
    state = method.init(Space.of((DIM,)), stream(0))
    place = [LEFT if k % 2 else RIGHT for k in range(64)]
    score = [1.0] * 64
    score[best] = 5.0
    evaluation = replace(told(bench, state.u, score, place), grad=torch.ones(64, DIM))
    after = method.tell(state, evaluation)
    torch.testing.assert_close(after.centre.float(), state.u[best])
