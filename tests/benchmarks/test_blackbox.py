"""The black-box suite is fair: a seed gives one problem, and no method gets a call more than its budget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import zmax
from benchmarks.blackbox.harness import PLAUSIBLE, Array, BlackBox, Run, Spent, Winner, drive, play
from benchmarks.blackbox.peers import pycma
from benchmarks.blackbox.problems import SUITE, Noisy, Problem, mlp
from benchmarks.blackbox.records import Job, line, read
from benchmarks.blackbox.tables import EARLY, LATE, Entry, beats
from zmax.core.rng import stream

FAST = [name for name in SUITE if not name.startswith("flow")]


class Counted(zmax.Score):
    """Counts the samples it scores and remembers what it said."""

    def __init__(self, inner: zmax.Score) -> None:
        self.inner, self.name, self.heard = inner, inner.name, []

    def __call__(self, samples: Tensor) -> Tensor:
        values = self.inner(samples)
        self.heard += values.tolist()
        return values


def counted(seed: int = 0) -> tuple[Problem, Counted]:
    problem = mlp(12, seed)
    score = Counted(problem.true)
    return Problem(problem.generator, score, problem.true, problem.origin), score


def answers(name: str, seed: int) -> Array:
    problem = SUITE[name].make(seed)
    u = problem.generator.space.sample(4, stream(1, "points")).double().numpy()
    box = BlackBox(problem, (8,))
    return np.concatenate([box(u), box(u)])


@pytest.mark.parametrize("name", FAST)
def test_a_problem_is_a_function_of_its_seed(name: str) -> None:
    assert np.array_equal(answers(name, 3), answers(name, 3))
    first, second = np.split(answers(name, 3), 2)
    assert np.array_equal(first, second) != SUITE[name].noisy


@pytest.mark.parametrize("name", ["gan:target", "vae:picture", "vae:picture+noise", "mlp:64"])
def test_targets_weights_and_noise_differ_between_seeds(name: str) -> None:
    assert not np.array_equal(answers(name, 3), answers(name, 4))


def test_noise_has_the_stated_deviation_and_no_bias() -> None:
    noisy = Noisy(zmax.score(lambda x: torch.zeros(len(x))), 0.5, seed=0)
    values = noisy(torch.zeros(40_000, 1))
    assert abs(float(values.mean())) < 4 * 0.5 / 200
    assert float(values.std()) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("calls", [97, 120])
@pytest.mark.parametrize(
    "method", [lambda box, seed: pycma(box, seed, 0.3), lambda b, s: drive(zmax.search.CMA(), b, s)]
)
def test_a_method_makes_exactly_the_calls_of_its_budget(method, calls) -> None:
    problem, score = counted()
    box = BlackBox(problem, (50, calls))
    run = play(method, box, 0)
    assert box.calls == len(score.heard) == calls
    assert [w.calls for w in run.winners] == [50, calls]


def test_a_mark_inside_a_round_sees_no_later_row() -> None:
    problem, score = counted()
    box = BlackBox(problem, (3, 7))
    box(problem.generator.space.sample(5, stream(0)).numpy().astype(float))
    with pytest.raises(Spent):
        box(problem.generator.space.sample(5, stream(1)).numpy().astype(float))
    assert [w.seen for w in box.finish()] == pytest.approx([max(score.heard[:3]), max(score.heard)], rel=1e-4)
    assert len(score.heard) == 7


def test_a_recommendation_is_taken_before_the_round_that_holds_the_mark() -> None:
    plain = mlp(12, 0)
    box = BlackBox(Problem(plain.generator, Noisy(plain.true, 0.1, 0), plain.true, plain.origin), (10, 16))
    seen = []
    box.favourite = lambda: seen.append(box.calls) or np.zeros(12)
    for part in range(4):
        box(plain.generator.space.sample(4, stream(part)).numpy().astype(float))
    assert seen == [8, 12]
    assert [w.favourite for w in box.finish()] == pytest.approx([plain.origin] * 2)


def test_a_method_that_takes_too_long_is_stopped_and_still_returns_something() -> None:
    problem, _ = counted()
    box = BlackBox(problem, (50, 100), seconds=0.0)

    def slow(box: BlackBox, seed: int) -> None:
        box(np.zeros((1, 12)))
        while True:
            box(np.zeros((1, 12)))

    run = play(slow, box, 0)
    assert [w.calls for w in run.winners] == [box.calls]
    assert box.calls < 50


def test_the_best_plausible_answer_is_kept_beside_the_best() -> None:
    plain = mlp(12, 0)
    score = zmax.score(lambda x: x.new_tensor(scores[: len(x)]))
    usual, far = np.ones(12), np.full(12, 9.0)
    scores = [1.0, 3.0, 2.0]
    box = BlackBox(Problem(plain.generator, score, plain.true), (2, 3))
    box(np.stack([usual, far, -usual]))
    first, last = box.finish()
    truth = [plain.truth(torch.from_numpy(u)) for u in (usual, far, -usual)]
    assert [first.seen, first.plausible] == pytest.approx([truth[1], truth[0]])
    assert [last.seen, last.plausible] == pytest.approx([truth[1], truth[2]])
    assert last.plausibility < PLAUSIBLE


def winner(seen: float, plausible: float | None, calls: int = LATE) -> Winner:
    return Winner(calls, seen, None, 1.0, 0.5, plausible, None)


def runs(*scores: float, plausible: float | None = None) -> list[Run]:
    return [Run(None, 0, 0.1, [winner(s, plausible, EARLY), winner(s + 1, plausible)]) for s in scores]


def test_runs_come_back_from_their_file(tmp_path: Path) -> None:
    job, run = Job("mlp:64", "optuna-tpe", 3**0.5, 1, LATE), runs(1.0, plausible=0.25)[0]
    (tmp_path / "runs").write_text(line(job, runs(7.0)[0]) + line(job, run))
    assert read(tmp_path / "runs") == {job: run}


def test_a_peer_is_reported_with_the_better_setting_column_by_column() -> None:
    peer = Entry("vae:colour", "pycma", LATE, {0.3: runs(1.0, 3.0, plausible=0.5), 1.0: runs(2.0, 3.0, plausible=0.1)})
    assert peer.values(EARLY) == [2.0, 3.0]
    assert peer.values(LATE, plausible=True) == [0.5, 0.5]


def test_what_has_no_plausible_answer_in_a_run_beats_nothing_plausible_and_stops_nothing() -> None:
    peer = Entry("vae:colour", "pycma", LATE, {1.0: runs(5.0, 6.0) + runs(5.0, plausible=4.0)})
    ours = Entry("vae:colour", "snes", LATE, {None: runs(1.0, plausible=0.5)})
    assert not beats(ours, [peer], LATE, LATE, False)
    assert beats(ours, [peer], LATE, LATE, True)
    assert not beats(peer, [ours], LATE, LATE, True)
