from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

import zmax
from tests.run.toys import Flaky, first, identity, sphere
from zmax.core.errors import CapabilityError, FailedRunError, InputError, UnknownNameError
from zmax.run.progress import Silent
from zmax.store import REFERENCE

METHODS = ["random", "gradient", "cma", "snes"]


def run(method="snes", **options):
    return zmax.maximize(identity(), zmax.score(sphere, differentiable=True), method, **{"budget": 300, **options})


@pytest.mark.parametrize("method", METHODS)
def test_best_is_the_best_score_ever_seen(method):
    r = run(method)
    assert r.best.score == pytest.approx(r.history.score.max())
    assert r.best.score == pytest.approx(float(sphere(r.best.sample[None])))
    assert r.history.best_so_far()[-1] == pytest.approx(r.best.score)
    assert [e.score for e in r.top()] == sorted((e.score for e in r.top()), reverse=True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("budget", [40, 333])
def test_the_budget_is_spent_to_the_last_call_and_never_exceeded(method, budget):
    r = run(method, budget=budget)
    assert r.ledger.score_calls == budget
    assert r.stop_reason == "score_calls"


def test_other_limits_bind_too():
    assert run("random", budget=zmax.Budget(nfe=200)).ledger.nfe == 200
    assert run("gradient", budget=zmax.Budget(score_grads=100)).ledger.score_grads == 100
    timed = run("random", budget=zmax.Budget(seconds=0.3))
    assert timed.stop_reason == "seconds"
    assert 0.3 <= timed.ledger.seconds < 3


@pytest.mark.parametrize("method", METHODS)
def test_the_batch_size_changes_no_point_and_no_value(method):
    small, large = run(method, batch_size=20), run(method, batch_size=64)
    n = min(len(small.history), len(large.history))
    assert np.array_equal(small.history.score[:n], large.history.score[:n])


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_decides_everything(method):
    a, b, c = run(method, seed=3), run(method, seed=3), run(method, seed=4)
    assert np.array_equal(a.history.score, b.history.score)
    assert not np.array_equal(a.history.score, c.history.score)


def test_the_reference_is_the_same_for_every_method_and_comes_first():
    values = {m: run(m).history.score[:15] for m in METHODS}
    for value in values.values():
        assert np.array_equal(value, values["random"])
    r = run("random")
    assert (r.history.round[: len(r.reference)] == REFERENCE).all()
    assert len(r.reference) == 15  # a twentieth of 300


def test_the_held_out_score_is_judged_after_the_run_and_changes_nothing():
    seen = []

    def judge(x):
        seen.append(len(x))
        return x[:, 1]

    plain, judged = run(), run(held_out=judge)
    assert np.array_equal(plain.history.score, judged.history.score)
    assert (
        judged.ledger.held_out_calls == sum(seen) <= 16 + 15 + 2 + 20 * 4
    )  # leaders, reference, a trial, four at each twentieth
    assert judged.best.held_out == pytest.approx(float(judged.best.sample[1]))
    assert plain.best.held_out is None


def test_who_watches_changes_nothing_and_sees_it_all():
    class Watcher(Silent):
        calls, share = 0, 0.0

        def updated(self, snapshot):
            self.calls, self.share = snapshot.ledger.score_calls, snapshot.share

    watcher = Watcher()
    watched = run(progress=watcher)
    assert np.array_equal(watched.history.score, run().history.score)
    assert (watcher.calls, watcher.share) == (300, 1.0)


def test_what_is_on_disk_is_what_was_returned(tmp_path):
    kept, memory = run(out=tmp_path / "run"), run()
    loaded = zmax.load_result(tmp_path / "run")
    for r in (kept, loaded, zmax.load_result(memory.save(tmp_path / "copy"))):
        assert np.array_equal(r.history.score, memory.history.score)
        assert [e.id for e in r.top()] == [e.id for e in memory.top()]
        assert all(torch.equal(a.sample, b.sample) for a, b in zip(r.top(), memory.top(), strict=True))
        assert r.ledger.score_calls == memory.ledger.score_calls


def test_latents_decode_to_the_sample():
    generator = zmax.generator(lambda z: z.flatten(1) * 2, shape=(2, 3), prior="uniform", modality="vector")
    r = zmax.maximize(generator, first, "random", budget=60)
    assert r.best.z.shape == (2, 3)
    assert torch.equal(generator.decode(r.best.z[None])[0], r.best.sample)


def test_samples_may_be_texts(tmp_path):
    words = zmax.generator(lambda z: ["a" * int(8 + 3 * v) for v in z[:, 0]], shape=(4,), modality="text", name="words")
    r = zmax.maximize(words, zmax.score(len, per_sample=True, name="length"), "snes", budget=200, out=tmp_path / "run")
    assert r.best.score == len(r.best.sample) == max(r.history.score)
    assert zmax.load_result(tmp_path / "run").best.sample == r.best.sample


def test_auto_follows_what_g_and_s_can_give():
    assert zmax.maximize(identity(), sphere, budget=60).spec.method == "gradient"
    assert zmax.maximize(identity(), lambda x: x.detach()[:, 0], budget=60).spec.method == "cma"
    assert zmax.maximize(identity(1200), lambda x: x.detach()[:, 0], budget=60).spec.method == "snes"


def test_some_failures_are_lived_with():
    r = zmax.maximize(identity(), Flaky("nan", above=1.0), "random", budget=400)
    failed = ~np.isfinite(r.history.score)
    assert 0.08 < failed.mean() < 0.25  # P(N(0,1) > 1) = 0.16
    assert r.ledger.failures == failed.sum() == len(r.history.failures)
    assert r.best.score <= 1.0


def test_too_many_failures_stop_the_run_and_keep_what_was_scored(tmp_path):
    class Dying:
        """A score server that dies, and is mended."""

        alive, calls = True, 0

        def __call__(self, x):
            self.calls += len(x)
            if self.calls > 150 and self.alive:
                raise ConnectionError("server gone")
            return sphere(x)

    server = Dying()
    with pytest.raises(FailedRunError, match="server gone") as caught:
        zmax.maximize(identity(), zmax.score(server, differentiable=False), "snes", budget=320, out=tmp_path / "run")
    assert caught.value.exit_code == 3
    assert caught.value.result.ledger.score_calls >= 150
    assert zmax.load_result(tmp_path / "run").stop_reason.startswith("failed")
    server.alive = False
    mended = zmax.resume(tmp_path / "run", identity(), zmax.score(server, differentiable=False), budget=400)
    steady = zmax.maximize(identity(), zmax.score(sphere, differentiable=False), "snes", budget=400)
    n = len(mended.history)
    assert not mended.history.failures
    assert np.array_equal(mended.history.score, steady.history.score[:n])


def test_an_interrupt_returns_what_there_is(tmp_path):
    class Impatient(Silent):
        def updated(self, snapshot):
            if snapshot.ledger.score_calls >= 100:
                raise KeyboardInterrupt

    r = run(progress=Impatient(), out=tmp_path / "run")
    assert r.stop_reason == "interrupted"
    assert r.best.score == r.history.score.max()
    resumed = zmax.resume(tmp_path / "run", identity(), zmax.score(sphere, differentiable=True))
    assert np.array_equal(resumed.history.score, run().history.score)


@pytest.mark.parametrize("method", METHODS)
def test_a_larger_budget_goes_on_where_the_smaller_ended(method, tmp_path):
    run(method, out=tmp_path / "run", budget=320)  # from 320 on, the reference has its full 16 samples
    longer = zmax.resume(tmp_path / "run", identity(), zmax.score(sphere, differentiable=True), budget=500)
    whole = run(method, budget=500)
    assert np.array_equal(longer.history.score, whole.history.score)
    assert [e.id for e in longer.top()] == [e.id for e in whole.top()]
    assert longer.ledger.score_calls == whole.ledger.score_calls == 500


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"method": "cmaa"}, UnknownNameError, "cma"),
        ({"budget": 0}, InputError, "positive"),
        ({"budget": "many"}, InputError, "int"),
        ({"batch_size": 0}, InputError, "batch_size"),
        ({"params": {"stepp": 1}}, InputError, "stepp"),
        ({"max_failures": 2}, InputError, "share"),
        ({"score": lambda x: x[:1, 0].expand(7)}, InputError, "(7,)"),
        ({"score": "brightness +"}, InputError, "^"),
        ({"score": "attribut:glasses"}, UnknownNameError, "attribute"),
        ({"generator": "avatars-gam"}, UnknownNameError, "avatars-gan"),
        ({"generator": 7}, InputError, "wrap it"),
        (
            {"score": zmax.score(lambda x: x.detach()[:, 0], differentiable=False), "method": "gradient"},
            CapabilityError,
            "cma",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(change, error, words, tmp_path):
    arguments = {"generator": identity(), "score": sphere, "method": "snes", "budget": 100, **change}
    with pytest.raises(error, match=None) as caught:
        zmax.maximize(**arguments, out=tmp_path / "run")
    assert words in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_run_is_never_overwritten(tmp_path):
    run(out=tmp_path / "run")
    with pytest.raises(InputError, match="already holds a run"):
        run(out=tmp_path / "run")


def test_a_generator_that_raises_is_named_before_anything_is_written(tmp_path):
    def broken(z):
        raise ValueError("weights are missing")

    with pytest.raises(InputError, match="weights are missing"):
        zmax.maximize(zmax.generator(broken, shape=(3,)), first, "snes", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_device_is_recorded_and_repeated():
    r = zmax.maximize("avatars-gan", "brightness", "random", 40, seed=0)
    assert r.spec.device == "cpu"
    assert "--device" not in (r.spec.command() or "")
    assert "--device cuda:0" in (replace(r.spec, device="cuda:0").command() or "")


def test_the_seconds_of_a_run_are_those_it_took():
    start = time.monotonic()
    r = zmax.maximize(identity(), sphere, "random", 64, progress=False)
    assert 0 < r.ledger.seconds <= time.monotonic() - start
