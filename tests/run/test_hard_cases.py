"""What happens at the edges: odd budgets, odd scores, odd moments."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import zmax
from tests.run.toys import first, identity, sphere
from zmax.core.errors import CapabilityError, FailedRunError, InputError
from zmax.run.progress import Silent
from zmax.store import Journal


class Interrupt(Silent):
    """Presses Ctrl-C after so many score calls."""

    def __init__(self, after: int) -> None:
        self.after = after

    def updated(self, snapshot):
        if snapshot.ledger.score_calls >= self.after:
            raise KeyboardInterrupt


class Scripted:
    """Gives NaN to the samples whose running number lies in given ranges, until it is mended."""

    def __init__(self, *bad: range) -> None:
        self.bad = bad
        self.calls = 0
        self.mended = False

    def __call__(self, x):
        numbers = range(self.calls, self.calls + len(x))
        self.calls += len(x)
        ill = torch.tensor([not self.mended and any(i in r for r in self.bad) for i in numbers])
        return torch.where(ill, float("nan"), sphere(x))


def test_a_failed_run_goes_on_although_a_later_batch_had_worked(tmp_path):
    """A round fails wholly, the next one half: going on must not meet points of a past that never was."""
    script = Scripted(range(48, 64), range(72, 10_000))
    score = zmax.score(script, differentiable=False)
    with pytest.raises(FailedRunError):
        zmax.maximize(
            identity(),
            score,
            zmax.search.CMA(population=16),
            320,
            batch_size=8,
            max_failures=0.35,
            out=tmp_path / "run",
        )
    script.mended = True
    done = zmax.resume(tmp_path / "run", identity(), score)
    assert done.stop_reason == "score_calls"
    assert len(done.history.failures) == 16  # told; what came after was tried again


def test_a_third_of_failures_is_not_a_half():
    def brittle(x):
        if bool((x[:, 0] > 0.4).any()):
            raise ValueError("too high")
        return x[:, 1]

    for seed in range(4):
        r = zmax.maximize(identity(), zmax.score(brittle), "random", 600, seed=seed)
        assert r.stop_reason == "score_calls"


@pytest.mark.parametrize("batch_size", [1, 2, 8, 64])
def test_the_reference_does_not_depend_on_the_batch_size(batch_size):
    r = zmax.maximize(identity(), sphere, "random", 400, batch_size=batch_size)
    whole = zmax.maximize(identity(), sphere, "random", 400, batch_size=32)
    assert len(r.reference) == 16
    assert np.array_equal(r.history.score, whole.history.score)


def test_auto_is_not_taken_in_by_trainable_weights():
    table = torch.nn.Embedding(10, 3)
    quantised = zmax.generator(lambda z: table(z[:, 0].abs().long().clamp(max=9)), shape=(4,), networks=[table])
    assert zmax.maximize(quantised, zmax.score(first, differentiable=True), budget=60).spec.method == "cma"


def test_a_score_that_never_had_gradients_is_refused_in_time(tmp_path):
    liar = zmax.score(lambda x: x.detach()[:, 0], differentiable=True)
    with pytest.raises(CapabilityError, match="no gradient reaches"):
        zmax.maximize(identity(), liar, "gradient", 100, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_score_that_is_constant_for_a_while_does_not_end_a_gradient_run():
    def plateau(x):
        return torch.zeros(len(x)) if bool((x[:, 0] < 2).all()) and len(x) > 2 else x[:, 0]

    r = zmax.maximize(identity(), zmax.score(plateau, differentiable=True), "gradient", 200)
    assert r.ledger.score_calls == 200
    assert r.ledger.bad_gradients > 0


@pytest.mark.parametrize("budget", [zmax.Budget(score_grads=10), zmax.Budget(nfe=50)])
def test_a_budget_that_never_ends_is_refused(budget):
    net = torch.nn.Identity()
    unseen = zmax.generator(lambda z: z * 1, shape=(4,), networks=[net])
    with pytest.raises(InputError, match="never end"):
        zmax.maximize(unseen, first, "random", budget)


def test_an_nfe_budget_holds_for_the_reference_too():
    net = torch.nn.Identity()
    slow = zmax.generator(lambda z: [net(z) for _ in range(10)][-1], shape=(4,), networks=[net])
    assert zmax.maximize(slow, first, "random", zmax.Budget(nfe=100)).ledger.nfe == 100


def test_time_before_the_first_round_is_charged():
    import time

    def slow(x):
        time.sleep(0.2)
        return x[:, 0]

    start = time.monotonic()
    r = zmax.maximize(identity(), zmax.score(slow, differentiable=False), "random", zmax.Budget(seconds=0.7))
    assert r.ledger.seconds >= 0.7
    assert time.monotonic() - start < r.ledger.seconds + 0.5


def test_ctrl_c_while_judging_keeps_the_result():
    def judge(x):
        if len(x) > 2:
            raise KeyboardInterrupt
        return x[:, 1]

    r = zmax.maximize(identity(), sphere, "random", 200, held_out=judge)
    assert r.stop_reason == "interrupted"
    assert r.best.score == r.history.score.max()


def test_ctrl_c_in_the_opening_loses_nothing(tmp_path):
    r = zmax.maximize(identity(), sphere, "random", 100, out=tmp_path / "run", progress=Interrupt(1))
    assert r.stop_reason == "interrupted"
    done = zmax.resume(tmp_path / "run", identity(), sphere)
    assert np.array_equal(done.history.score, zmax.maximize(identity(), sphere, "random", 100).history.score)


def test_a_judge_that_cannot_judge_is_refused_before_the_run(tmp_path):
    with pytest.raises(InputError, match=r"held-out[\s\S]*index 99"):
        zmax.maximize(identity(), sphere, "random", 100, held_out=lambda x: x[:, 99], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_sample_the_judge_gives_nan_is_judged_once(tmp_path):
    shown = []

    def judge(x):
        shown.append(len(x))
        return torch.where(x[:, 0] > 0, float("nan"), x[:, 0])

    r = zmax.maximize(identity(), sphere, "random", 100, held_out=judge, out=tmp_path / "run")
    before = sum(shown)
    again = zmax.resume(tmp_path / "run", identity(), sphere, judge)
    assert sum(shown) == before == again.ledger.held_out_calls
    assert any(np.isnan(e.held_out) for e in r.leaders)


def test_the_ledger_never_goes_down(tmp_path):
    script = Scripted(range(60, 10_000))
    score = zmax.score(script, differentiable=False)
    with pytest.raises(FailedRunError) as caught:
        zmax.maximize(identity(), score, "random", 400, out=tmp_path / "run")
    spent = caught.value.result.ledger
    script.mended = True
    stopped = zmax.resume(tmp_path / "run", identity(), score, progress=Interrupt(0)).ledger
    assert stopped.score_calls >= spent.score_calls
    assert stopped.failures >= spent.failures
    assert zmax.load_result(tmp_path / "run").ledger == stopped


def test_objects_that_are_no_data_stay_alive_in_the_run_that_made_them():
    class Molecule:
        def __init__(self, weight):
            self.weight = weight

    G = zmax.generator(lambda z: [Molecule(float(v)) for v in z[:, 0]], shape=(3,))
    weigh = zmax.score(lambda m: m.weight, per_sample=True)
    r = zmax.maximize(G, weigh, "random", 60, held_out=zmax.score(lambda m: -m.weight, per_sample=True, name="minus"))
    assert isinstance(r.best.sample, Molecule)
    assert r.best.held_out == -r.best.sample.weight


def test_only_what_has_no_name_is_asked_for(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch, zmax\n"
        "G = zmax.generator(torch.nn.Identity(), shape=(4,))\n"
        "def S(x):\n    return x[:, 0]\n"
        "class Mine(zmax.search.Random):\n"
        "    def __init__(self, *, batch: int = 7):\n        super().__init__(batch=batch)\n"
    )
    r = zmax.maximize(f"{file}:G", f"{file}:S", f"{file}:Mine", 60, params={"batch": "5"}, out=tmp_path / "named")
    assert r.spec.objects == ()
    assert f"-m {file}:Mine -p batch=5" in r.spec.command()
    assert zmax.resume(tmp_path / "named", budget=90).ledger.score_calls == 90
    zmax.maximize(f"{file}:G", lambda x: x[:, 0], "random", 60, out=tmp_path / "half")
    with pytest.raises(InputError, match="the score of this run"):
        zmax.resume(tmp_path / "half")
    assert zmax.resume(tmp_path / "half", score=lambda x: x[:, 0], budget=90).ledger.score_calls == 90


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1.5},
        {"seed": None},
        {"method": zmax.search.CMA},
        {"method": "math:pi"},
        {"method": "math:sqrt"},
        {"method": zmax.search.CMA(), "params": {"step": 1}},
    ],
)
def test_odd_arguments_are_refused_by_name(change, tmp_path):
    arguments = {"generator": identity(), "score": sphere, "method": "random", "budget": 50, **change}
    with pytest.raises((InputError, TypeError)):
        zmax.maximize(**arguments, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"no run can be kept|expected"):
        zmax.maximize(identity(), sphere, "random", 50, out=tmp_path / "file" / "sub")


def test_top_gives_what_was_kept():
    r = zmax.maximize(identity(), sphere, "random", 100, keep=3)
    assert len(r.top()) == 3
    with pytest.raises(InputError, match="keep=4"):
        r.top(4)


def test_a_killed_run_reports_what_it_had(tmp_path):
    zmax.maximize(identity(), sphere, "random", 100, out=tmp_path / "run")

    class Dead(Silent):
        def updated(self, snapshot):
            if snapshot.ledger.score_calls > 200:
                raise MemoryError

    with pytest.raises(MemoryError):
        zmax.resume(tmp_path / "run", identity(), sphere, budget=400, progress=Dead())
    assert zmax.load_result(tmp_path / "run").ledger.score_calls == 2 + len(
        list(_rows(tmp_path / "run"))
    )  # two beside the history, at the opening


def _rows(folder):
    for chunk in Journal.open(folder).chunks():
        yield from chunk.score


def test_failures_that_were_told_stay_told_through_a_kill_and_a_failing_score(tmp_path):
    class Kill(Silent):
        def updated(self, snapshot):
            if snapshot.ledger.score_calls > 150:
                raise MemoryError

    script = Scripted(
        *(range(i, i + 1) for i in (72, 92, 112)), range(232, 10_000)
    )  # two calls of the opening are in no history
    score = zmax.score(script, differentiable=False)
    with pytest.raises(MemoryError):
        zmax.maximize(identity(), score, "cma", 400, out=tmp_path / "run", progress=Kill())
    before = zmax.load_result(tmp_path / "run").history.score
    with pytest.raises(FailedRunError):
        zmax.resume(tmp_path / "run", identity(), score)
    script.mended = True
    done = zmax.resume(tmp_path / "run", identity(), score, budget=500)
    assert done.stop_reason == "score_calls"
    assert np.array_equal(done.history.score[: len(before)], before)
    assert {70, 90, 110} <= set(done.history.failures)
    assert np.array_equal(done.history.id, np.arange(len(done.history)))
