"""Several processes: rows are shared out once, the weights are those of one process, what was cut short goes on."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import zmax
from tests.run.test_finetune import model
from zmax.core.budget import Ledger
from zmax.finetune.weights import read
from zmax.run.processes import Crew, launched
from zmax.store import Journal

CALLS = 50
ODD = 7
"""Samples a round: two processes cannot have equal shares of it."""

LAUNCH = "accelerate.commands.launch --multi_gpu --num_machines 1 --mixed_precision no --dynamo_backend no"


def nearness(log: Path) -> zmax.Score:
    """Return a score that writes down what each process shows it."""

    def score(x: torch.Tensor) -> torch.Tensor:
        with Path(f"{log}.{os.environ.get('RANK', 0)}").open("a") as file:
            file.writelines(f"{value}\n" for value in x.detach().double().sum(1).tolist())
        return -(x - 1).square().sum(1)

    return zmax.score(score, differentiable=True, name="nearness")


def shown(log: Path) -> list[list[str]]:
    """Return what each process showed the score."""
    return [file.read_text().split() for file in sorted(log.parent.glob(f"{log.name}.*"))]


def tune(folder: Path, log: Path, budget: int) -> zmax.TuneResult:
    torch.set_num_threads(1)
    score, judge = nearness(log), zmax.score(lambda x: x[:, 0], name="first")
    if (folder / "run.sqlite").exists():
        return zmax.resume(folder, model(), score, judge, budget=budget, progress=False)
    settings = {"held_out": judge, "looks": 1, "fresh": 5, "rate": 3e-3, "params": {"batch": ODD}}
    return zmax.finetune(model(), score, "direct", budget, out=folder, **settings)


def work(rank: int, port: int, *what) -> None:
    os.environ |= {"RANK": f"{rank}", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": f"{port}"}
    tune(*what)
    torch.distributed.destroy_process_group()


def by_two(*what) -> None:
    """Finetune by two processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(rank, port, *what)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> zmax.TuneResult:
    """A finetune by one process; what is natural for its parent is known before, to all processes alike."""
    zmax.realism(model(), progress=False)
    folder = tmp_path_factory.mktemp("one")
    return tune(folder / "run", folder / "log", CALLS)


def scores(result: zmax.TuneResult) -> dict[int, torch.Tensor]:
    """Return the scores of each round."""
    return {c.round: c.score for c in Journal.open(result.folder).chunks() if c.round >= 0}


def test_two_processes_make_the_weights_of_one_and_score_nothing_twice(one, tmp_path):
    by_two(tmp_path / "run", tmp_path / "log", CALLS)
    two = zmax.load_result(tmp_path / "run")
    ours, theirs = read(one.weights)[0], read(two.weights)[0]
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in ours)
    assert one.rounds.looks[-1].moved > 1e-3
    (alone,), shares = shown(one.folder.parent / "log"), shown(tmp_path / "log")
    assert sum(map(len, shares)) == len(alone) == one.ledger.score_calls
    assert min(map(len, shares)) > len(alone) / 3
    counts = [name for name in vars(Ledger()) if name not in ("seconds", "peak_memory")]
    assert [getattr(one.ledger, n) for n in counts] == [getattr(two.ledger, n) for n in counts]


def test_two_processes_go_on_from_where_one_was(one, tmp_path):
    first = scores(tune(tmp_path / "run", tmp_path / "log", CALLS // 2))
    by_two(tmp_path / "run", tmp_path / "log", CALLS)
    found, known = scores(zmax.load_result(tmp_path / "run")), scores(one)
    assert len(found) > len(first)
    assert all(torch.allclose(found[round_], known[round_], atol=1e-4) for round_ in found)


def test_shares_are_all_rows_in_order_and_differ_by_one_at_most():
    for n in range(9):
        parts = [list(range(n))[Crew(rank, 4).share(n)] for rank in range(4)]
        assert [row for part in parts for row in part] == list(range(n))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_one_process_does_all_itself():
    assert launched() == Crew()
    assert Crew().shared(Ledger(), 5, lambda rows: rows) == [slice(0, 5)]


def test_the_command_line_runs_by_accelerate(tmp_path):
    pytest.importorskip("accelerate")
    (tmp_path / "mine.py").write_text(
        "import torch, zmax\n"
        "network = torch.nn.Linear(2, 2)\n"
        "with torch.no_grad():\n    network.weight.copy_(torch.eye(2)), network.bias.zero_()\n"
        "G = zmax.generator(network, shape=(2,), modality='vector', name='mine')\n"
        "S = zmax.score(lambda x: x[:, 0], differentiable=True, name='first')\n"
    )
    words = f"-m {LAUNCH} --num_processes 2 -m zmax finetune -g mine.py:G -s mine.py:S -m direct -n 40 --looks 1"
    done = subprocess.run(
        [sys.executable, *words.split(), "--out", "run", "--json"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"stop_reason"') == 1
    assert zmax.load_result(tmp_path / "run").ledger.score_calls <= 40
