"""Scores that cost: no answer that was paid for is lost or bought twice, whatever happens to the rest of its batch."""

from __future__ import annotations

import pytest
import torch

import zmax
from tests.run.toys import Oracle, identity, same, single
from zmax.core.budget import Budget, Ledger
from zmax.core.proposal import Latents, Proposal
from zmax.run.evaluator import Evaluator
from zmax.run.opening import PAIR


def points(n: int, dim: int = 8) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(n))


def test_one_sample_that_raises_fails_alone_and_is_asked_and_charged_once():
    oracle, ledger = Oracle({3: ValueError("no"), 7: ValueError("no")}), Ledger()
    batch = Evaluator(identity(), single(oracle), ledger, Budget(score_calls=99)).evaluate(
        Proposal(Latents(points(12)))
    )
    assert batch.failures == {3: "ValueError: no", 7: "ValueError: no"}
    assert len(oracle.asked) == ledger.score_calls == ledger.decodes == 12
    good = [i for i in range(12) if i not in batch.failures]
    assert torch.equal(batch.score[good], points(12)[good, 0].double())


def test_a_late_sample_fails_alone():
    import time

    S = single(lambda x: time.sleep(5) or 1.0 if x[0] > 0 else 2.0, timeout=0.1)
    u = points(4)
    u[:, 0] = torch.tensor([-1.0, 1.0, -1.0, -1.0])
    batch = Evaluator(identity(), S, Ledger(), Budget(score_calls=99)).evaluate(Proposal(Latents(u)))
    assert batch.score.tolist() == [2.0, float("-inf"), 2.0, 2.0]
    assert "0.1 s" in batch.failures[1]


def test_what_batches_ask_is_asked_before_what_costs():
    def whole(x):
        if (x[:, 0] > 1).any():
            raise RuntimeError("too high")
        return x[:, 1]

    oracle = Oracle()
    u = points(6).clamp(-1, 0.5)
    u[4, 0] = 2.0
    both = single(oracle) + zmax.score(whole, name="whole")
    batch = Evaluator(identity(), both, Ledger(), Budget(score_calls=99)).evaluate(Proposal(Latents(u)))
    assert set(batch.failures) == {4}
    assert oracle.asked == [float(v) for i, v in enumerate(u[:, 0]) if i != 4]


def test_gradients_go_through_samples_one_by_one():
    from zmax.core.proposal import Value

    def third(x):
        if x[0] > 1:
            raise ValueError("no")
        return (x**3).sum()

    u = points(4).clamp(-1, 0.9)
    u[2, 0] = 2.0
    S = single(third, differentiable=True)
    batch = Evaluator(identity(), S, Ledger(), Budget(score_calls=99)).evaluate(
        Proposal(Latents(u), Value(grad="point"))
    )
    good = [0, 1, 3]
    assert torch.allclose(batch.grad[good], 3 * u[good] ** 2)
    assert set(batch.failures) == {2}


def run(oracle, out=None, *, noisy=False, **more):
    return zmax.maximize(
        identity(), single(oracle, noisy=noisy), "cma", budget=120, seed=0, out=out, guard="report", **more
    )


@pytest.mark.parametrize("at", [17, 40, 71])
def test_an_interrupted_run_asks_again_only_for_the_sample_that_was_running(tmp_path, at):
    whole = run(undisturbed := Oracle())
    cut, rest = Oracle({at: KeyboardInterrupt()}), Oracle()
    assert run(cut, tmp_path / "run").stop_reason == "interrupted"
    resumed = zmax.resume(tmp_path / "run", identity(), single(rest))
    assert same(resumed, whole)
    assert [*cut.asked[:-1], *rest.asked[1:]] == undisturbed.asked
    assert rest.asked[0] == undisturbed.asked[0], "to see that S is what it was, without charge"


def words(dim: int = 4):
    """A decoder of three letters out of three: 27 words."""
    return zmax.generator(
        lambda z: ["".join("abc"[int(v > -0.5) + int(v > 0.5)] for v in row[:3]) for row in z],
        shape=(dim,),
        modality="text",
        name="words",
    )


def rank(word: str) -> float:
    return float(sum("abc".index(letter) * 3**i for i, letter in enumerate(word)))


@pytest.mark.parametrize("per_sample", [True, False])
def test_no_sample_is_bought_twice(per_sample):
    asked: list[str] = []

    def single(word):
        asked.append(word)
        return rank(word)

    S = zmax.score(single if per_sample else lambda batch: [single(w) for w in batch], per_sample=per_sample)
    result = zmax.maximize(words(), S, "random", budget=27, seed=0)
    assert len(asked) == len(set(asked)) == result.ledger.score_calls
    assert result.ledger.recalled == len(result.history.score) - len(asked) > 100
    assert result.stop_reason in ("score_calls", "recalled")
    assert result.best.sample == "ccc"


def test_a_run_that_finds_nothing_new_ends():
    result = zmax.maximize(words(), zmax.score(rank, per_sample=True), "random", budget=100, seed=0)
    assert result.stop_reason == "recalled"
    assert result.ledger.score_calls <= 27 + PAIR
    assert result.ledger.recalled >= 1000


def test_the_leaders_of_words_are_different_words():
    result = zmax.maximize(words(64), zmax.score(rank, per_sample=True), "random", budget=25, seed=0)
    found = [entry.sample for entry in result.leaders]
    assert len(found) == len(set(found)) == 16


def test_a_noisy_score_is_asked_again():
    asked: list[str] = []
    S = zmax.score(lambda word: asked.append(word) or rank(word), per_sample=True, noisy=True, name="noisy")
    result = zmax.maximize(words(), S, "random", budget=60, seed=0)
    assert len(asked) == result.ledger.score_calls == 60
    assert result.ledger.recalled == 0


@pytest.mark.parametrize("at", [5, 18, 24])
def test_what_was_known_is_known_after_an_interruption(tmp_path, at):
    def run(then, out=None):
        asked: list[str] = []

        def single(word):
            asked.append(word)
            if len(asked) == then:
                raise KeyboardInterrupt
            return rank(word)

        S = zmax.score(single, per_sample=True, name="rank")
        if then is None and out is not None:
            return asked, zmax.resume(out, words(), S)
        return asked, zmax.maximize(words(), S, "random", budget=25, seed=0, out=out, batch_size=8)

    first, _ = run(at, tmp_path / "run")
    rest, resumed = run(None, tmp_path / "run")
    asked, whole = run(None)
    assert [*first[:-1], *rest[1:]] == asked
    assert resumed.history.score.tolist() == whole.history.score.tolist()
    assert (resumed.ledger.score_calls, resumed.ledger.recalled) == (whole.ledger.score_calls, whole.ledger.recalled)


def test_rare_samples_are_looked_for_as_long_as_so_many_may_fail():
    def valid(x):
        if x[0] < 1.645:
            raise ValueError("no molecule")
        return float(x[1])

    S = zmax.score(valid, per_sample=True, name="valid")
    result = zmax.maximize(identity(), S, "random", budget=400, seed=1, max_failures=1.0)
    assert result.stop_reason == "score_calls"
    assert 5 < 400 - result.ledger.failures < 50
    never = zmax.score(lambda x: 1 / 0, per_sample=True, name="never")
    with pytest.raises(zmax.ZmaxError, match="max_failures=1") as caught:
        zmax.maximize(identity(), never, "random", budget=400, seed=1)
    assert "16 failures: ZeroDivisionError" in str(caught.value)


def test_a_run_stopped_by_failures_goes_on_when_more_may_fail(tmp_path):
    oracle = Oracle()

    def often(x):
        value = oracle(x)
        if len(oracle.asked) > 40 and len(oracle.asked) % 8:
            raise ValueError("no molecule")
        return value

    with pytest.raises(zmax.core.errors.FailedRunError, match="--max-failures 1"):
        run(often, tmp_path / "run")
    before = len(oracle.asked)
    result = zmax.resume(tmp_path / "run", identity(), single(often), max_failures=1.0)
    assert result.stop_reason == "score_calls"
    assert len(oracle.asked) - 1 == result.ledger.score_calls == 120 > before
    assert result.spec.max_failures == 1.0


def test_an_interrupted_pass_of_repeats_asks_again_only_for_the_sample_that_was_running(tmp_path):
    cut, rest = Oracle({115: KeyboardInterrupt()}), Oracle()
    assert run(cut, tmp_path / "run", noisy=True).stop_reason == "interrupted"
    resumed = zmax.resume(tmp_path / "run", identity(), single(rest, noisy=True))
    whole = Oracle()
    assert run(whole, noisy=True).best.score == resumed.best.score
    assert [*cut.asked[:-1], *rest.asked] == whole.asked
