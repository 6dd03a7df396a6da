"""What path searches choose: lengths and lineages by their stated chances, children, branches and angles by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from zmax.core.rng import Rng, stream
from zmax.guide import Noises, Paths, Polish, Relay, Rollover
from zmax.testing import gaussian_mixture, quadratic_score
from zmax.testing.driver import drive, proceed

STEPS = 8
SCORE = quadratic_score([[1.0, 0.0], [0.0, 0.5]], [0.8, -0.4])
FLAT = quadratic_score(torch.zeros(2, 2), [0.0, 0.0])
LENGTHS = [1, 2, 4, 8]


def model(steps=STEPS):
    law = gaussian_mixture([[-1.5, 0.0], [1.5, 0.5]], [(0.2 * torch.eye(2)).tolist()] * 2, [0.5, 0.5])
    return law.generator(steps=steps, eta=1.0)


def told(*scores):
    """Return a spoiler that gives the rows these scores."""
    score = torch.tensor(scores)
    return lambda e: replace(e, score=score) if len(e.score) else e


def at_an_end(method):
    """Return the state of a relay whose first pass after its draws is at its end."""
    G = model()
    state = drive(method, G, SCORE, 2 * STEPS).state
    while not state.walk.at_end(G.space):
        state = proceed(method, G, SCORE, state, 1).state
    return state


def within(found, wanted, n):
    """Say whether frequencies of n draws lie within 4 standard errors of their chances."""
    return all(abs(f - p) <= 4 * math.sqrt(p * (1 - p) / n) for f, p in zip(found, wanted, strict=True))


def test_a_relay_draws_lengths_by_what_they_gain_for_an_evaluation():
    """A tenth of passes alike over all lengths; the others in proportion to (gain + spread / 2) / (cost + length).

    Gains and costs of earlier passes count nine tenths; the pass that ends here gains nothing and costs its length."""
    G, method = model(), Relay(first=6, lineages=3, rows=4, keep=2)
    state = at_an_end(method)
    gain, cost = [0.0, 4.0, 0.0, 8.0], [0.0, 0.0, 1e6, 40.0]
    state = replace(
        state, gain=torch.tensor(gain).double(), cost=torch.tensor(cost).double(), spread=4.0, length=2, passes=5
    )
    lost = told(*[-1e3] * 4)
    after = proceed(method, G, SCORE, state, 1, spoil=lost).state
    torch.testing.assert_close(after.gain, torch.tensor([0.0, 3.6, 0.0, 7.2]).double())
    torch.testing.assert_close(after.cost, torch.tensor([0.0, 0.0, 900_004.0, 36.0]).double())
    rates = [(g + 2.0) / (c + k) for g, c, k in zip([0, 3.6, 0, 7.2], [0, 0, 900_004, 36], LENGTHS, strict=True)]
    chances = [0.9 * rate / sum(rates) + 0.1 / 4 for rate in rates]
    n, evaluation = 1000, proceed(method, G, SCORE, state, 1, spoil=lost).evaluations[0]
    lengths, parents = torch.zeros(4), torch.zeros(3)
    for seed in range(n):
        next_ = method.tell(replace(state, rng=Rng.of(stream(seed, "relay"))), evaluation)
        assert next_.walk.step == STEPS - LENGTHS[next_.length]
        lengths[next_.length] += 1
        parents[next_.parent] += 1
    assert within((lengths / n).tolist(), chances, n), (lengths / n, chances)
    # of two rivals drawn alike from three lineages, the better one: 5/9, 3/9, 1/9 from best to worst
    order = state.elites.score.argsort(descending=True)
    assert within((parents[order] / n).tolist(), [5 / 9, 3 / 9, 1 / 9], n), parents / n


def test_a_pass_of_the_relay_gains_what_its_best_end_adds_to_its_lineage():
    G, method = model(), Relay(first=6, lineages=3, rows=4, keep=2)
    state = at_an_end(method)
    level = float(state.elites.score[state.parent])
    after = proceed(method, G, SCORE, state, 1, spoil=told(level + 1.0, level - 2.0, level + 3.0, level)).state
    assert float(after.gain[state.length]) == pytest.approx(0.9 * float(state.gain[state.length]) + 3.0, abs=1e-5)
    assert float(after.elites.score[state.parent]) == pytest.approx(level + 3.0, abs=1e-5)
    assert torch.equal(after.elites.u[state.parent], state.walk.u[2])
    worse = proceed(method, G, SCORE, state, 1, spoil=told(*[level - 1.0] * 4)).state
    assert float(worse.gain[state.length]) == pytest.approx(0.9 * float(state.gain[state.length]))
    assert torch.equal(worse.elites.u, state.elites.u)


def test_failed_first_paths_count_as_drawn():
    """Four first paths of which one fails are followed by the two that are missing, and the spread is the scores'."""
    G, method = model(), Relay(first=6, lineages=3, rows=4, keep=2)

    def spoil(e):
        ok = torch.tensor([True, True, False, True])
        return replace(e, ok=ok, score=torch.tensor([1.0, 5.0, -math.inf, 3.0])) if len(e.score) else e

    state = drive(method, G, SCORE, STEPS, spoil=spoil).state
    assert (state.drawn, len(state.walk.x)) == (4, 2)
    assert state.elites.score.tolist() == [5.0, 3.0, 1.0]
    assert state.spread == pytest.approx(2.0)


def test_a_relay_whose_first_ends_all_fail_draws_as_many_anew():
    def spoil(e):
        return replace(e, ok=e.ok & False, score=e.score - math.inf) if len(e.score) else e

    state = drive(Relay(first=2, lineages=2, rows=4, keep=2), model(), SCORE, STEPS, spoil=spoil).state
    assert (state.drawn, len(state.walk.x), state.walk.step) == (0, 2, 0)


def test_the_only_path_that_lives_branches_into_all():
    def spoil(e):
        return replace(e, ok=torch.arange(4) == 2, score=torch.tensor([9.0, 9.0, 0.0, 9.0]))

    state = drive(Paths(rows=4, keep=2), model(), SCORE, 1, spoil=spoil).state
    noise = state.walk.u[:, : state.walk.x[0].numel()]
    assert len(state.walk.x) == 4
    assert torch.equal(noise, noise[:1].expand(4, -1))


@pytest.mark.parametrize("after", [1, 2])
def test_gradients_take_over_after_so_many_passes(after):
    """A pass begins when the one before has ended, so that gradients begin with the next one's first round."""
    G, method = model(), Polish(first=4, lineages=2, rows=4, keep=2, polish_after=after)
    state, passes = drive(method, G, SCORE, STEPS).state, []
    while len(method.ask(state)) == 4:
        if state.walk.at_end(G.space):
            passes.append(state.length)
        state = proceed(method, G, SCORE, state, 1).state
    assert len(passes) == after
    assert torch.equal(method.ask(state).u[0], state.elites.u[int(state.elites.score.argmax())])


def test_paths_branch_from_the_best_previews():
    """The best k of n go on, n / k of each, and what they share is their past."""
    G, method = model(), Paths(rows=6, keep=2)
    state = drive(method, G, SCORE, 0).state
    after = proceed(method, G, SCORE, state, 1, spoil=told(1.0, 4.0, 0.0, 2.0, 5.0, 3.0)).state
    here = G.space.path.columns(0)
    assert torch.equal(after.walk.u[:, here], state.walk.u[[4, 1] * 3][:, here])
    assert len(after.walk.x.unique(dim=0)) == 6


def test_rollover_takes_the_best_child_that_beats_its_parent():
    """Equal is not better; what is left of a quota is added to the next; a spent quota takes the best there is."""
    G, method = model(), Rollover(quota=6, rows=2)
    state = drive(method, G, SCORE, 0).state
    first = proceed(method, G, SCORE, state, 1, spoil=told(1.0, 3.0)).state
    assert (first.walk.step, first.level, first.left) == (1, 3.0, 6 + 4)
    assert torch.equal(first.parent.u, state.walk.u[1:])
    same = proceed(method, G, SCORE, first, 1, spoil=told(3.0, 2.0)).state
    assert (same.walk.step, same.left, same.best_score) == (1, 8, 3.0)
    for left in (6, 4, 2):
        same = proceed(method, G, SCORE, same, 1, spoil=told(0.0, 1.0)).state
        assert (same.walk.step, same.left) == (1, left)
    spent = proceed(method, G, SCORE, same, 1, spoil=told(0.0, 1.0)).state
    assert (spent.walk.step, spent.level, spent.left) == (2, 3.0, 6)


def test_noises_turn_by_an_angle_that_shrinks_and_grows():
    """Neighbours are u cos a + xi sin a; a is 1 at first, 0.7 times as large after a failure, as much larger after a
    success, and never above the first."""
    G, method = model(2), Noises(batch=2000, patience=9)
    state = drive(method, G, FLAT, 0).state
    angle, scores = 1.0, [0.0, 0.0, 0.0, 1.0, 2.0, 3.0]
    for k, level in enumerate(scores):
        pivot = state.u[0] if level > (scores[k - 1] if k else -1.0) else state.pivot
        values = torch.full((2000,), level - 1.0)
        values[0] = level
        state = proceed(method, G, FLAT, state, 1, spoil=lambda e, v=values: replace(e, score=v)).state
        better = k == 0 or level > scores[k - 1]
        angle = angle if k == 0 else min(1.0, angle / 0.7) if better else 0.7 * angle
        assert state.angle == pytest.approx(angle)
        assert torch.equal(state.pivot, pivot)
        noise = state.u - math.cos(angle) * state.pivot
        assert float(noise.std()) == pytest.approx(math.sin(angle), rel=0.05)
        assert float(noise.mean()) == pytest.approx(0.0, abs=0.05)


def test_noises_begin_anew_after_so_many_rounds_in_a_row_without_a_better_one():
    G, method = model(2), Noises(batch=2, patience=3)
    state = drive(method, G, FLAT, 0).state
    restarts = []
    for level in (0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0):
        state = proceed(method, G, FLAT, state, 1, spoil=told(level, level - 1)).state
        restarts.append(state.best == -math.inf)
    assert restarts == [False] * 6 + [True]
