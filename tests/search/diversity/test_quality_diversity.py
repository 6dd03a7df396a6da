"""CMA-MAE and CMA-MEGA: more kinds of better samples than chance finds, slopes through G, nothing lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import zmax
from zmax.core.errors import CapabilityError
from zmax.core.proposal import Latents, Proposal, Pullback, Value
from zmax.core.rng import stream
from zmax.run.progress import Silent
from zmax.search import CMAMAE, CMAMEGA
from zmax.search.diversity.archive import Archive
from zmax.search.diversity.cma_mega import CENTRE, PULL
from zmax.search.diversity.grid import Grid
from zmax.testing import linear_gaussian, quadratic_score
from zmax.testing.driver import evaluate

DIM, CALLS = 24, 1000
RANGES = "-4:4,-4:4"


def two(x):
    return x[:, :2]


def problem(seed):
    """A linear decoder, and a score that does not depend on what the descriptor sees."""
    rng = stream(seed, "quality-diversity")
    mixing = torch.randn(8, DIM, generator=rng, dtype=torch.float64) / DIM**0.5
    slope = torch.randn(8, generator=rng, dtype=torch.float64)
    slope[:2] = 0
    return linear_gaussian(mixing), quadratic_score(torch.diag(torch.tensor([0.0, 0, 1, 1, 1, 1, 1, 1])), slope)


def run(method, G, S, calls, seed):
    state, told = method.init(G.space, stream(seed, "method")), 0
    while told < calls:
        evaluation = evaluate(method.ask(state), G, S)
        told += len(evaluation.score)
        state = method.tell(state, evaluation)
    return state


def by_chance(G, S, calls, seed, floor):
    u = G.space.sample(calls, stream(seed, "chance"))
    grid = Grid.of("chance", two, RANGES, 12, floor)
    return grid.entered(Archive.unopened(), u, evaluate(Proposal(Latents(u), Value(samples=True)), G, S))[0]


@pytest.mark.parametrize("kind", [CMAMAE, CMAMEGA])
def test_one_dimension_can_be_searched(kind):
    method = kind(descriptor=lambda x: x, ranges="-2:2", cells=4, population=8)
    archive = run(method, linear_gaussian(torch.eye(1)).generator(), quadratic_score(b=[1.0]), 200, 0).archive
    assert archive.coverage == 1.0
    assert archive.elites().u.shape == (4, 1)


@pytest.mark.parametrize("kind", [CMAMAE, CMAMEGA])
def test_it_fills_more_cells_with_better_samples_than_best_of_n(kind):
    """At equal calls, in every one of three seeds: coverage and QD-score."""
    for seed in range(3):
        law, S = problem(seed)
        G = law.generator()
        method = kind(descriptor=two, ranges=RANGES, cells=12, floor=-40.0)
        ours, chance = run(method, G, S, CALLS, seed).archive, by_chance(G, S, CALLS + 64, seed, -40.0)
        assert ours.coverage > 1.15 * chance.coverage, seed
        assert ours.qd_score > 1.15 * chance.qd_score, seed


@pytest.mark.parametrize("kind", [CMAMAE, CMAMEGA])
def test_elites_are_plausible_and_are_what_the_generator_makes_of_them(kind):
    law, S = problem(0)
    G = law.generator()
    state = run(kind(descriptor=two, ranges=RANGES, cells=12), G, S, 600, 0)
    archive, elites = state.archive, kind().draws(state)
    assert float(G.space.plausibility(archive.u[archive.filled]).min()) >= 0.49
    x = G.decode(archive.u[archive.filled])
    assert torch.allclose(S(x).detach(), archive.score[archive.filled], atol=1e-5)
    assert torch.allclose(two(x).detach(), archive.place[archive.filled], atol=1e-5)
    assert len(elites.u) == int(archive.filled.sum())
    assert float(elites.score[0]) == archive.best


def test_slopes_are_the_gradients_in_closed_form():
    """For G(u) = W u the score's slope is W^T (b - A x), a coordinate's is its row of W; each scaled to sqrt(d)."""
    law, S = problem(1)
    G, method = law.generator(), CMAMEGA(descriptor=two, ranges=RANGES, cells=12, retract=False)
    state = method.init(G.space, stream(0))
    while state.phase != PULL:
        assert method.ask(state).want.grad == "point"
        state = method.tell(state, evaluate(method.ask(state), G, S))
    proposal = method.ask(state)
    assert isinstance(proposal.want, Pullback)
    evaluation = evaluate(proposal, G, S)
    assert len(evaluation.score) == 0
    branched = method.tell(state, evaluation)
    tilt = law.tilt(S)
    rows = torch.stack([tilt.gradient - tilt.hessian @ state.centre, *law.matrix[:2]])
    expected = rows / rows.norm(dim=1, keepdim=True) * DIM**0.5
    assert torch.allclose(branched.slopes, expected, atol=1e-4)
    drawn = (branched.u.double() - branched.centre) @ torch.linalg.pinv(expected)
    assert torch.allclose(drawn, branched.law.mean + branched.law.sigma * branched.y, atol=1e-4)


def test_scaling_the_score_changes_nothing():
    """Thresholds are linear in S, and slopes are scaled to one length: 4 S + 64 gives the archive of S."""
    law, S = problem(2)
    G = law.generator()
    for kind in (CMAMAE, CMAMEGA):
        method = kind(descriptor=two, ranges=RANGES, cells=6)
        plain, scaled = run(method, G, S, 300, 0), run(method, G, 4.0 * S + 64.0, 300, 0)
        assert torch.allclose(plain.archive.u, scaled.archive.u, atol=1e-3)


class Stopping(Silent):
    """Interrupts a run after some batches."""

    def __init__(self, batches):
        self.left = batches

    def updated(self, snapshot):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["cma-mae", "cma-mega"])
def test_results_do_not_depend_on_the_batch_size_and_a_run_goes_on(tmp_path, method):
    """In batches of 7 or of 64 the elites are the same up to rounding; a run in two parts ends bit for bit alike."""
    G, S, settings = zmax.load_generator("avatars-gan"), "attribute:glasses", {"cells": "6x5"}
    whole = zmax.maximize(G, S, method, 200, batch_size=64, params=settings)
    small = zmax.maximize(G, S, method, 200, batch_size=7, params=settings)
    assert torch.allclose(whole.population.u, small.population.u, atol=1e-3)
    folder = tmp_path / "run"
    cut = zmax.maximize(G, S, method, 200, batch_size=64, params=settings, out=folder, progress=Stopping(4))
    assert cut.stop_reason == "interrupted"
    resumed = zmax.resume(folder)
    assert torch.equal(resumed.population.u, whole.population.u)
    assert torch.equal(resumed.population.score, whole.population.score)
    assert [e.score for e in resumed.elites] == whole.population.score.tolist()


def test_a_descriptor_without_gradient_is_refused_by_name():
    law, S = problem(0)
    with pytest.raises(CapabilityError, match="cma-mae"):
        run(CMAMEGA(descriptor=lambda x: x[:, :2].round().detach()), law.generator(), S, 200, 0)


def test_a_floor_above_all_scores_keeps_nothing_and_goes_on():
    law, S = problem(0)
    for kind in (CMAMAE, CMAMEGA):
        state = run(kind(descriptor=two, floor=1e9), law.generator(), S, 300, 0)
        assert state.archive.coverage == 0.0
        assert len(kind().draws(state).u) == 0


def test_the_centre_moves_on_from_where_it_fails():
    """A centre that gets no score is left for an elite."""
    law, S = problem(0)
    G, method = law.generator(), CMAMEGA(descriptor=two, ranges=RANGES)
    state = method.init(G.space, stream(0))
    state = method.tell(state, evaluate(method.ask(state), G, S))
    evaluation = evaluate(method.ask(state), G, S)
    failed = replace(evaluation, ok=evaluation.ok & False, score=evaluation.score - float("inf"))
    moved = method.tell(state, failed)
    assert moved.phase == CENTRE
    assert not torch.equal(moved.centre, state.centre)
    assert any(torch.equal(moved.u[0], u) for u in moved.archive.u)
