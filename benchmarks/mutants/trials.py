"""Runs of tests in copies of the checkout: which test touches which line, and which tests notice a break.

Every run is a fork of one process that has loaded torch already, in a copy that it has to itself for the time.
Shapes are not checked on every call, as they are in the suite: that would double the time of most runs.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import beartype  # noqa: F401  # loaded once, before the forks, as are the next
import coverage
import jaxtyping  # noqa: F401
import matplotlib.figure  # noqa: F401
import pytest
import torch

FORK = multiprocessing.get_context("fork")
KEPT = 60  # of the tests of a folder that touch a line, as many of the fastest are remembered
Work = Callable[[Path], dict[str, Any]]  # what to do in a copy
Job = tuple[Any, Work, float]  # its key, and the seconds that it may take


class Watch:
    """A pytest plugin: tells the recorder which test runs, and keeps how long each took and which did not pass."""

    def __init__(self, recorder: coverage.Coverage) -> None:  # noqa: D107
        self.recorder = recorder
        self.seconds: dict[str, float] = {}
        self.bad: set[str] = set()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.recorder.switch_context(nodeid)

    def pytest_runtest_logfinish(self) -> None:
        self.recorder.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if not report.passed:
            self.bad.add(report.nodeid)


def copied(root: Path, folder: Path) -> Path:
    """Copy what git tracks or would track."""
    listing = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in subprocess.run(listing, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    return folder


def at_once(jobs: Iterable[Job], copies: list[Path]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Do the jobs, one a copy at a time; yield each key with its outcome, as they end."""
    waiting, running = list(jobs)[::-1], dict[Path, tuple[BaseProcess, Any, float]]()
    try:
        while waiting or running:
            for copy in [copy for copy in copies if copy not in running][: len(waiting)]:
                key, work, limit = waiting.pop()
                process = FORK.Process(target=alone, args=(copy, work))
                process.start()
                running[copy] = process, key, time.monotonic() + limit
            wait([process.sentinel for process, _, _ in running.values()], timeout=1)
            for copy, (process, key, end) in list(running.items()):
                if process.is_alive() and time.monotonic() < end:
                    continue
                del running[copy]
                yield key, ended(process, copy / "outcome.json")
    finally:
        for copy, (process, _, _) in running.items():
            ended(process, copy / "outcome.json")


def ended(process: BaseProcess, file: Path) -> dict[str, Any]:
    """Return the outcome that a process left; one that still runs is killed with all it started."""
    late = process.is_alive()
    if late:
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    outcome = json.loads(file.read_text()) if file.exists() else {"code": "late" if late else "died"}
    file.unlink(missing_ok=True)
    return dict(outcome)


def alone(copy: Path, work: Work) -> None:
    """Do one job in a process group of its own, without a word, the copy's code first on the path."""
    os.setsid()
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    torch.set_num_threads(1)
    os.chdir(copy)
    sys.path[:0] = ours = [str(copy / "src"), str(copy)]
    os.environ |= {"PYTHONPATH": os.pathsep.join(ours), "OMP_NUM_THREADS": "1", "ZMAX_SHAPE_CHECKS": "0"}
    try:
        outcome = work(copy)
    except BaseException as error:  # noqa: BLE001 - a broken source may raise anything
        outcome = {"code": f"died of {error!r}"}
    (copy / "outcome.json").write_text(json.dumps(outcome))
    os._exit(0)


def pytested(arguments: list[str], *plugins: object) -> int:
    """Run pytest; return its exit code. What was loaded before the forks cannot be rewritten, which is no fault."""
    quiet = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "ignore::pytest.PytestAssertRewriteWarning")
    return int(pytest.main([*quiet, *arguments], plugins=list(plugins)))


def measure(copy: Path, tests: list[str]) -> dict[str, Any]:
    """Run test files; return the seconds of each test that passes, and for each line which of them touch it."""
    recorder = coverage.Coverage(data_file=None, config_file=False, source=[str(copy / "src" / "zmax")])
    watch = Watch(recorder)
    recorder.start()
    pytested(tests, watch)
    recorder.stop()
    data, seconds = recorder.get_data(), {k: round(v, 3) for k, v in watch.seconds.items() if k not in watch.bad}
    lines = {
        str(Path(file).relative_to(copy)): {
            line: sorted(seconds.keys() & set(names), key=seconds.__getitem__)[:KEPT]
            for line, names in data.contexts_by_lineno(file).items()
            if seconds.keys() & set(names)
        }
        for file in data.measured_files()
    }
    return {"seconds": seconds, "lines": lines}


def attempt(copy: Path, pristine: Path, file: str, code: str, tests: list[str]) -> dict[str, Any]:
    """Break one file of an otherwise untouched source and run tests up to the first that fails."""
    shutil.copytree(pristine / "src", copy / "src", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / file).write_text(code)
    return {"code": pytested(["-x", *tests])}
