"""Scores that cost: no answer that was paid for is lost or bought twice, whatever happens to the rest of its batch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import zmax
from tests.run.toys import identity
from zmax.core.budget import Budget, Ledger
from zmax.core.proposal import Latents, Proposal
from zmax.run.evaluator import Evaluator


def points(n: int, dim: int = 8) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(n))


def single(fn, **options):
    return zmax.score(fn, per_sample=True, name="oracle", **options)


class Oracle:
    """Counts what it is asked; does something at some calls."""

    def __init__(self, then=None) -> None:
        self.asked: list[float] = []
        self._then = then or {}

    def __call__(self, x: torch.Tensor) -> float:
        call = len(self.asked)
        self.asked.append(float(x[0]))
        if call in self._then:
            raise self._then[call]
        return float(x[0])


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


def run(oracle, out=None, **more):
    return zmax.maximize(identity(), single(oracle), "cma", budget=120, seed=0, out=out, guard="report", **more)


def same(a, b) -> bool:
    return a.history.score.tolist() == b.history.score.tolist() and a.ledger.score_calls == b.ledger.score_calls


@pytest.mark.parametrize("at", [17, 40, 71])
def test_an_interrupted_run_asks_again_only_for_the_sample_that_was_running(tmp_path, at):
    whole = run(Oracle())
    cut, rest = Oracle({at: KeyboardInterrupt()}), Oracle()
    assert run(cut, tmp_path / "run").stop_reason == "interrupted"
    resumed = zmax.resume(tmp_path / "run", identity(), single(rest))
    assert same(resumed, whole)
    assert [*cut.asked[:-1], *rest.asked] == whole.history.score.tolist()


KILLED = """
import os, sys, torch, zmax
from tests.run.toys import identity

def oracle(x):
    with open(sys.argv[2], "a") as log:
        log.write(f"{float(x[0])!r}\\n")
    if len(open(sys.argv[2]).readlines()) == int(sys.argv[3]):
        os.kill(os.getpid(), 9)
    return float(x[0])

S = zmax.score(oracle, per_sample=True, name="oracle")
if os.path.exists(sys.argv[1]):
    zmax.resume(sys.argv[1], identity(), S)
else:
    zmax.maximize(identity(), S, "cma", budget=120, seed=0, out=sys.argv[1], guard="report")
"""


def test_a_killed_run_asks_again_only_for_the_sample_that_was_running(tmp_path):
    whole, folder, log = run(Oracle()), tmp_path / "run", tmp_path / "log"
    for at in (57, 0):
        words = [sys.executable, "-c", KILLED, str(folder), str(log), str(at)]
        done = subprocess.run(words, cwd=Path(__file__).parents[2], env={**os.environ}, timeout=60, check=False)
        assert done.returncode == (-signal.SIGKILL if at else 0)
    assert same(zmax.load_result(folder), whole)
    asked = [float(line) for line in log.read_text().split()]
    assert asked[:57] + asked[58:] == whole.history.score.tolist()
    assert asked[57] == asked[56]
