"""A condition: same seed same weights, what is killed goes on bit for bit, several scores, data, what is refused."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import warnings
from pathlib import Path

import pytest
import torch

import zmax
from tests.run.test_resume import Logged
from zmax.core.errors import CapabilityError, InputError
from zmax.core.rng import stream
from zmax.finetune.weights import read
from zmax.results.spec import ConditionSpec, fresh_of
from zmax.run import rounds
from zmax.store import Journal
from zmax.testing.trained import PointNetwork

KILLS = 14
CALLS, DRAWS, CHECKED, FRESH, LOOKS = 200, 80, 40, 8, 2
PARAMS = {"steps": 80, "batch": 16, "asks": 1, "asked": 8}


def model() -> zmax.Generator:
    """A flow model of points, of random weights."""
    network = PointNetwork(2, 8, stream(0, "test"))
    return zmax.diffusion(
        network, shape=(2,), schedule="rectified-flow", steps=3, parametrisation="velocity", modality="vector"
    )


def condition(folder: Path | None, score: object, **settings: object) -> zmax.ConditionResult:
    options = {"budget": CALLS, "draws": DRAWS, "checked": CHECKED, "fresh": FRESH, "looks": LOOKS, "params": PARAMS}
    return zmax.condition(model(), score, **{**options, "batch_size": 16, "out": folder, "progress": False, **settings})


def near(x: torch.Tensor) -> torch.Tensor:
    return -(x - 1).square().sum(1)


def first(x: torch.Tensor) -> torch.Tensor:
    return x[:, 0]


def second(x: torch.Tensor) -> torch.Tensor:
    return x[:, 1]


SCORES = [zmax.score(f, differentiable=False) for f in (first, second)]


def same(one: zmax.ConditionResult, other: zmax.ConditionResult) -> bool:
    a, b = (read(result.weights)[0] for result in (one, other))
    calibrations = zip(one.calibrations, other.calibrations, strict=True)
    return all(torch.equal(a[name], b[name]) for name in a.keys() | b.keys()) and all(
        (x.achieved == y.achieved).all() and (x.asked == y.asked).all() for x, y in calibrations
    )


def work(folder: Path, log: Path, checkpoint_seconds: float) -> None:
    torch.set_num_threads(1)
    rounds.CHECKPOINT_SECONDS, rounds.CHECKPOINT_SHARE = checkpoint_seconds, 1.0
    score = zmax.score(Logged(log), differentiable=True, name="logged")
    if (folder / "run.sqlite").exists():
        zmax.resume(folder, model(), score, progress=False)
    else:
        condition(folder, score)


def test_sigkill_at_random_moments_gives_the_same_weights_and_scores_nothing_twice(tmp_path, monkeypatch):
    for name in ("CHECKPOINT_SECONDS", "CHECKPOINT_SHARE"):
        monkeypatch.setattr(rounds, name, getattr(rounds, name))
    monkeypatch.setattr(rounds, "DEATHS", 10**9)  # batches cut short twice go one by one, which rounds otherwise
    torch.set_num_threads(1)
    work(tmp_path / "whole", tmp_path / "whole.log", 1e9)
    context, chance, kills = multiprocessing.get_context("fork"), random.Random(5), 0
    while True:
        process = context.Process(target=work, args=(tmp_path / "killed", tmp_path / "killed.log", 0.02))
        process.start()
        if kills < KILLS:
            process.join(chance.uniform(0.02, 0.3))
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
        process.join()
        if process.exitcode == 0:
            break
    assert kills
    whole, killed = zmax.load_result(tmp_path / "whole"), zmax.load_result(tmp_path / "killed")
    assert same(whole, killed)
    for a, b in zip(Journal.open(tmp_path / "whole").chunks(), Journal.open(tmp_path / "killed").chunks(), strict=True):
        assert (a.round, a.offset) == (b.round, b.offset)
        assert torch.equal(a.score, b.score)
    assert [e.sample.tolist() for e in whole.asked] == [e.sample.tolist() for e in killed.asked]
    shown, once = (tmp_path / "killed.log").read_text().split(), (tmp_path / "whole.log").read_text().split()
    assert set(shown) >= set(once)
    assert len(shown) - len(once) <= kills * 18  # a batch in flight when a kill struck, or the opening's two


@pytest.fixture(scope="module")
def undisturbed() -> zmax.ConditionResult:
    return condition(None, zmax.score(near, differentiable=False, name="near"))


@pytest.mark.parametrize("stops", [DRAWS // 2, DRAWS + 2 + FRESH + 4, CALLS - 70], ids=["lesson", "training", "asking"])
def test_an_interrupted_run_goes_on_to_the_same_weights_and_scores_nothing_twice(stops, undisturbed, tmp_path):
    seen: list[int] = []

    def interrupted(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        if sum(seen) > stops and sum(seen[:-1]) <= stops:
            raise KeyboardInterrupt
        return near(x)

    S = zmax.score(interrupted, differentiable=False, name="near")
    cut = condition(tmp_path / "run", S)
    assert cut.stop_reason == "interrupted"
    lost = seen[-1]
    again = zmax.resume(tmp_path / "run", model(), S, progress=False)
    assert same(again, undisturbed)
    assert sum(seen) - lost == again.ledger.score_calls


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> zmax.ConditionResult:
    return condition(tmp_path_factory.mktemp("both") / "run", SCORES, guidances="0,1", params={**PARAMS, "asks": 0})


def test_the_same_seed_gives_the_same_result_bit_for_bit(both):
    assert same(both, condition(None, SCORES, guidances="0,1", params={**PARAMS, "asks": 0}))


def test_several_scores_are_compared_each_at_each_guidance(both):
    found = [(one.name, one.guidance, len(one.asked)) for one in both.calibrations]
    assert found == [(name, w, CHECKED // 2) for w in (0.0, 1.0) for name in ("first", "second")]
    kept = both.asked
    assert [e.parts["asked first"] for e in kept] == sorted(e.parts["asked first"] for e in kept)
    for entry in kept:
        assert entry.parts["first"] == pytest.approx(float(entry.sample[0]))
        assert entry.parts["second"] == pytest.approx(float(entry.sample[1]))


def test_any_of_several_scores_can_be_asked_for_by_name(both):
    one, other = both.sample(4, score={"second": 0.1}), both.sample(4, score=[None, 0.1])
    assert torch.equal(one, other)
    assert not torch.equal(one, both.sample(4))
    with pytest.raises(InputError, match="third"):
        both.sample(4, score={"third": 0.0})
    with pytest.raises(InputError, match="2: first, second"):
        both.sample(4, score=0.1)


def test_guidance_of_zero_asks_once_and_more_goes_on_along_the_difference(both):
    rng = stream(0, "points")
    x, t = torch.randn(5, 2, generator=rng), torch.full((5,), 0.5)
    G = both.generator
    plain, nothing, pushed = (
        G.at(*arguments).denoise(x, t) for arguments in ([[0.5, 0]], [None], [[0.5, 0], None, 2.0])
    )
    torch.testing.assert_close(pushed, plain + 2.0 * (plain - nothing))
    away = G.at([0.5, 0], [-0.5, None], 1.0).denoise(x, t)
    torch.testing.assert_close(away, 2 * plain - G.at([-0.5, None]).denoise(x, t))


def test_a_request_outside_the_range_warns_and_one_inside_does_not(both):
    high = {one.name: one.highest for one in both.calibrations}
    with pytest.warns(UserWarning, match="standard deviations above every score in the data"):
        both.sample(2, score={"first": high["first"] + 1.0})
    trusted = both.calibration.trusted
    if trusted is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            both.sample(2, score={"first": sum(trusted) / 2})


def test_a_decoder_has_no_guidance_and_a_flow_method_needs_a_path():
    G = zmax.generator(torch.nn.Linear(4, 2), shape=(4,), modality="vector")
    with pytest.raises(CapabilityError, match="has none"):
        zmax.condition(G, first, "flow", budget=100)


def test_the_ledger_counts_all_that_was_scored(both):
    assert (
        both.ledger.score_calls == sum(len(c.score) for c in Journal.open(both.folder).chunks()) + 4
    )  # at the opening
    assert both.ledger.score_calls == DRAWS + (LOOKS + 1) * FRESH + CHECKED + 4 <= CALLS


@pytest.mark.parametrize("calls", [150, 400, 4000, 100_000])
def test_what_is_scored_by_default_fits_the_budget(calls):
    spec = ConditionSpec("G", "S", "flow", zmax.Budget(score_calls=calls))
    cost = spec.drawn + spec.compared + (spec.looks + 1) * fresh_of(spec) + 4
    assert 0.8 * calls < cost <= calls
