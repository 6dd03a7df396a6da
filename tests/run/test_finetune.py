"""The training loop: what is killed goes on bit for bit, the parent stays, the goal ends it, weights are chosen."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from pathlib import Path

import pytest
import torch

import zmax
from tests.run.test_resume import Logged
from zmax.core.errors import CapabilityError, FailedRunError, InputError
from zmax.core.rng import stream
from zmax.finetune.weights import read
from zmax.results.looks import Look, choose
from zmax.run import rounds
from zmax.store import Journal
from zmax.testing.trained import PointNetwork

KILLS = 20
CALLS = 900
PARAMS = {
    "direct": {"batch": 32},
    "ranked": {"batch": 32, "rows": 64},
    "distil": {"search": "snes", "every": 3, "rows": 64},
    "refl": {"batch": 32},
    "seiko": {"batch": 64, "rows": 32, "most": 128},
}


def model() -> zmax.Generator:
    """A flow model of points, of random weights."""
    network = PointNetwork(2, 8, stream(0, "test"))
    return zmax.diffusion(
        network, shape=(2,), schedule="rectified-flow", steps=3, parametrisation="velocity", modality="vector"
    )


def tune(folder: Path | None, score: zmax.Score, method: str, **settings: object) -> zmax.TuneResult:
    options = {"budget": CALLS, "batch_size": 16, "looks": 3, "rate": 3e-3, "params": PARAMS[method]} | settings
    return zmax.finetune(model(), score, method, out=folder, progress=False, **options)


def work(folder: Path, log: Path, method: str, checkpoint_seconds: float) -> None:
    torch.set_num_threads(1)
    rounds.CHECKPOINT_SECONDS, rounds.CHECKPOINT_SHARE = checkpoint_seconds, 1.0
    score = zmax.score(Logged(log), differentiable=True, name="logged")
    if (folder / "run.sqlite").exists():
        zmax.resume(folder, model(), score, progress=False)
    else:
        tune(folder, score, method)


@pytest.mark.parametrize(
    ("method", "checkpoint_seconds", "longest"),
    [("direct", 0.02, 0.12), ("ranked", 1e9, 0.2), ("distil", 0.02, 0.2), ("refl", 0.02, 0.2), ("seiko", 0.02, 0.5)],
)
def test_sigkill_at_random_moments_gives_the_same_weights_and_scores_nothing_twice(
    method, checkpoint_seconds, longest, tmp_path, monkeypatch
):
    for name in ("CHECKPOINT_SECONDS", "CHECKPOINT_SHARE"):
        monkeypatch.setattr(rounds, name, getattr(rounds, name))
    monkeypatch.setattr(rounds, "DEATHS", 10**9)  # batches cut short twice go one by one, which rounds otherwise
    torch.set_num_threads(1)
    work(tmp_path / "whole", tmp_path / "whole.log", method, 1e9)
    context, chance, kills = multiprocessing.get_context("fork"), random.Random(method), 0
    while True:
        process = context.Process(
            target=work, args=(tmp_path / "killed", tmp_path / "killed.log", method, checkpoint_seconds)
        )
        process.start()
        if kills < KILLS:
            process.join(chance.uniform(0.02, longest))
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
        process.join()
        if process.exitcode == 0:
            break
    assert kills == KILLS

    whole, killed = zmax.load_result(tmp_path / "whole"), zmax.load_result(tmp_path / "killed")
    one, other = read(whole.weights)[0], read(killed.weights)[0]
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    one, other = Journal.open(tmp_path / "whole"), Journal.open(tmp_path / "killed")
    for name in [f"weights {look.look}" for look in whole.rounds.looks]:
        assert one.blob(name) == other.blob(name)
    for a, b in zip(one.chunks(), other.chunks(), strict=True):
        assert (a.round, a.offset) == (b.round, b.offset)
        assert torch.equal(a.digest if a.u is None else a.u, b.digest if b.u is None else b.u)
        assert torch.equal(a.score, b.score)
    names = ("round", "updates", "score_calls", "nfe", "scores", "kl", "distance", "vendi", "loss", "slope")
    for a, b in zip(whole.rounds.looks, killed.rounds.looks, strict=True):
        assert [getattr(a, n) for n in names if n != "nfe"] == [getattr(b, n) for n in names if n != "nfe"]
    shown, once = (tmp_path / "killed.log").read_text().split(), (tmp_path / "whole.log").read_text().split()
    assert set(shown) >= set(once)
    assert len(shown) - len(once) <= KILLS * 18  # a batch in flight when a kill struck, or the opening's two


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path):
    calls = 0

    def stops(x: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += len(x)
        if 300 < calls < 320:
            raise KeyboardInterrupt
        return -(x - 1).square().sum(1)

    S = zmax.score(stops, differentiable=True)
    first = tune(tmp_path / "run", S, "direct")
    assert first.stop_reason == "interrupted"
    whole = tune(None, zmax.score(lambda x: -(x - 1).square().sum(1), differentiable=True), "direct")
    again = zmax.resume(tmp_path / "run", model(), S, progress=False)
    for a, b in zip(whole.rounds.looks, again.rounds.looks, strict=True):
        assert a.scores == b.scores


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> zmax.TuneResult:
    score = zmax.score(lambda x: -(x - 1).square().sum(1), differentiable=True, name="nearness")
    return tune(tmp_path_factory.mktemp("tuned") / "run", score, "direct", until="p05 >= 100")


def test_the_score_of_fresh_samples_rises_and_the_child_makes_them(tuned):
    assert tuned.after.look.score > tuned.before.look.score + 0.2
    child = tuned.generator
    for entry in tuned.after.entries:
        with torch.no_grad():
            assert torch.allclose(child.decode(entry.z[None])[0], entry.sample, atol=1e-5)
    assert [e.u.tolist() for e in tuned.before.entries] == [e.u.tolist() for e in tuned.after.entries]


def test_the_ledger_counts_all_that_was_scored(tuned):
    scored = sum(len(c.score) for c in Journal.open(tuned.folder).chunks())
    assert tuned.ledger.score_calls == scored + 4  # two were scored at the opening, each twice
    assert tuned.ledger.score_calls <= CALLS
    assert tuned.ledger.nfe_backward > 0


def test_looks_come_at_equal_shares_and_the_last_is_of_the_last_weights(tuned):
    looks = tuned.rounds.looks
    assert len(looks) == 4
    assert looks[0].updates == 0
    assert looks[-1].updates == max(look.updates for look in looks)
    assert [look.look for look in looks] == [0, 1, 2, 3]
    assert looks[0].moved == 0 < looks[1].moved < looks[2].moved < looks[3].moved


def test_the_child_can_be_searched_and_saved_elsewhere(tuned, tmp_path):
    r = zmax.maximize(tuned.generator, lambda x: x[:, 0], "random", 40)
    assert r.best.score == r.best.score
    tuned.save(tmp_path / "copy")
    assert (tmp_path / "copy" / "child.safetensors").read_bytes() == tuned.weights


def test_a_goal_ends_the_run_at_a_look():
    score = zmax.score(lambda x: -(x - 1).square().sum(1), differentiable=True)
    t = tune(None, score, "direct", until="p50 >= -1000")
    assert t.stop_reason == "until"
    assert len(t.rounds) == 1


def test_the_parent_and_its_weights_stay_bit_for_bit():
    G = model()
    before = [w.clone() for network in G.networks for w in network.state_dict().values()]
    score = zmax.score(lambda x: x[:, 0], differentiable=True)
    zmax.finetune(G, score, "direct", budget=200, progress=False, params={"batch": 16})
    after = [w for network in G.networks for w in network.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_failures_are_counted_and_left_out():
    def sometimes(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x[:, 0] > 0.7, torch.nan, x[:, 0])

    t = tune(None, zmax.score(sometimes, differentiable=True), "direct")
    assert t.ledger.failures > 0
    assert all(torch.isfinite(w).all() for w in t.generator.networks[0].parameters())


def test_a_score_that_always_fails_ends_the_run_with_what_was_scored():
    calls = 0

    def breaks(x: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += len(x)
        if calls > 200:
            raise RuntimeError("the server is gone")
        return x[:, 0]

    with pytest.raises(FailedRunError, match="the server is gone") as caught:
        tune(None, zmax.score(breaks, differentiable=False), "ranked")
    assert caught.value.result.rounds.looks[0].score < 10


def test_what_cannot_be_meant_is_refused():
    S = zmax.score(lambda x: x[:, 0], differentiable=True)
    with pytest.raises(InputError, match="until"):
        tune(None, S, "direct", until="better")
    with pytest.raises(InputError, match="no parameter 'bacth'"):
        tune(None, S, "direct", params={"bacth": 3})
    with pytest.raises(CapabilityError, match="follows gradients"):
        tune(None, zmax.score(lambda x: x[:, 0].detach(), differentiable=False), "direct")
    with pytest.raises(InputError, match="no tuner is called"):
        zmax.finetune(model(), S, "cma", budget=100)


def look(number: int, *, held_out: float = 1.0, distance: float = 1.0, natural: float = 1.0) -> Look:
    judged = [held_out - 0.1, held_out + 0.1] * 32
    real = [0.5] * round(64 * natural) + [0.0] * (64 - round(64 * natural))
    return Look(number, number, number, 0, 0, 0.0, [0.0] * 64, judged, real, distance, 0.01)


@pytest.mark.parametrize(
    ("looks", "chosen", "why"),
    [
        ([look(0), look(1, held_out=2), look(2, held_out=3)], 2, "the last weights"),
        ([look(0), look(1, held_out=2), look(2, held_out=1.5), look(3, held_out=4)], 1, "held-out score fell"),
        ([look(0), look(1), look(2, distance=0.5)], 1, "distance between samples fell"),
        ([look(0), look(1, natural=0.2), look(2)], 0, "natural samples fell"),
    ],
)
def test_weights_are_chosen_from_before_the_first_fall(looks, chosen, why):
    number, reason = choose(looks, "chosen")
    assert number == chosen
    assert why in reason
    assert choose(looks, "last")[0] == len(looks) - 1
