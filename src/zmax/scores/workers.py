"""Processes that score samples, one each at a time."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import signal
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

from zmax.core.errors import InputError, WorkerError
from zmax.core.imports import loaded_files
from zmax.core.samples import Sample
from zmax.core.score import Answer
from zmax.core.serve import serve

GRACE = 0.5
"""Seconds that a process is given to end before it is killed."""

LOST = 3
"""Workers in a row that may die before they are ready."""

START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""Workers begin with nothing of this process in them, where it can be as quick copies of a process that has nothing."""

GUARD = 'keep what starts the run under `if __name__ == "__main__":`, and run a file, not lines of a shell'


@dataclass
class Worker:
    """One process, and what it is doing."""

    process: BaseProcess
    link: connection.Connection
    ready: bool = False
    row: int | None = None
    since: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether it waits for a sample."""
        return self.ready and self.row is None

    def end(self) -> str:
        """End the process, and say how it ended."""
        self.link.close()
        if self.row is not None or not self.ready:
            self.process.terminate()
        self.process.join(GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode or 0
        return f"signal {-code}: {signal.strsignal(-code)}" if code < 0 else f"exit code {code}"


class Workers:
    """A function of one sample in n processes; they start when they are needed, and one that dies is replaced.

    Args:
        fn: gives a number for a sample; it must pickle, as functions of a module or of a file do.
        n: processes at most.
        timeout: seconds one sample may take, None for any.
        name: the score, for messages.
        read: makes an answer of (row, what was said, samples that are being scored), where that is in words.

    Raises:
        InputError: the function cannot be handed to another process.
    """

    def __init__(
        self,
        fn: Callable[[Any], Any],
        n: int,
        timeout: float | None,
        name: str,
        *,
        read: Callable[[int, Any, int], Answer] | None = None,
    ) -> None:
        self._read = read
        self._function, self._n, self._timeout, self._name = _pickled(fn, name), n, timeout, name
        self._workers: list[Worker] = []
        self._lost = 0
        weakref.finalize(self, _end, self._workers)

    def answers(self, samples: Iterable[Sample]) -> Iterator[Answer]:
        """Yield the answer of each sample as it comes; the rows say which sample it belongs to.

        Raises:
            WorkerError: a process cannot load the function.
        """
        due = deque(enumerate(samples))
        try:
            while due or self._busy():
                self._hand_out(due)
                told = self._heard()
                self._hand_out(due)
                for row, said, failure in told:
                    busy, read = len(self._busy()), None if failure else self._read
                    yield Answer(row, said, failure, busy) if read is None else read(row, said, busy)
        finally:
            self._drop(self._busy())

    def close(self) -> None:
        """End all processes."""
        _end(self._workers)

    def _busy(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.row is not None]

    def _hand_out(self, due: deque[tuple[int, Sample]]) -> None:
        """Give a sample to each idle worker, and start those that are missing."""
        self._drop([w for w in self._workers if w.idle and not w.process.is_alive()])
        for worker in [w for w in self._workers if w.idle]:
            if due:
                row, sample = due.popleft()
                try:
                    worker.link.send_bytes(pickle.dumps(sample))
                except OSError:  # it died a moment ago
                    due.appendleft((row, sample))
                    self._drop([worker])
                else:
                    worker.row, worker.since = row, time.monotonic()
        for _ in range(self._n - len(self._workers) if due else 0):
            self._workers.append(self._started())

    def _started(self) -> Worker:
        context: Any = multiprocessing.get_context(START)
        here, there = context.Pipe()
        threads = max(1, (os.cpu_count() or 1) // self._n)
        arguments = (there, self._function, loaded_files(), threads, self._read is None)
        process = context.Process(target=serve, args=arguments, daemon=True, name=f"score {self._name}")
        try:
            process.start()
        except (AssertionError, RuntimeError) as error:  # within a process that multiprocessing started
            raise WorkerError(f"no worker can start for the score {self._name!r}", got=error, remedy=GUARD) from error
        there.close()
        return Worker(process, here)

    def _heard(self) -> list[tuple[int, Any, str]]:
        """Wait until a worker answers, gets ready, dies or is late, and return what is to be told of samples."""
        watched: dict[Any, Worker] = {w.link: w for w in self._workers if not w.idle}
        watched |= {w.process.sentinel: w for w in self._workers if not w.idle}
        since = min((w.since for w in self._busy()), default=math.inf)
        left = None if self._timeout is None or since == math.inf else since + self._timeout - time.monotonic()
        found = connection.wait(list(watched), None if left is None else max(0.0, left))
        told = [self._told(w) for w in {id(watched[f]): watched[f] for f in found}.values()]
        told += [self._late(w) for w in self._busy() if self._timeout and time.monotonic() - w.since >= self._timeout]
        return [one for one in told if one is not None]

    def _told(self, worker: Worker) -> tuple[int, Any, str] | None:
        row = worker.row
        try:
            value, failure = pickle.loads(worker.link.recv_bytes())  # noqa: S301 - from a process that we started
        except (EOFError, OSError):
            how = self._drop([worker])
            if row is None:
                self._lost += 1
                if self._lost < LOST:
                    return None
                raise WorkerError(f"no worker can start for the score {self._name!r}", got=how, remedy=GUARD) from None
            return row, math.nan, f"the worker that scored it died ({how})"
        if row is None and failure:
            self._drop([worker])
            raise WorkerError(f"no worker can load the score {self._name!r}", got=failure, remedy=GUARD)
        worker.ready, worker.row, self._lost = True, None, 0
        return None if row is None else (row, value, failure)

    def _late(self, worker: Worker) -> tuple[int, Any, str]:
        row = worker.row
        assert row is not None, "only a busy worker can be late"
        self._drop([worker])
        return row, math.nan, f"no answer within {self._timeout:g} s: its worker was ended"

    def _drop(self, workers: list[Worker]) -> str:
        """End these workers, and say how the last one ended."""
        how = ""
        for worker in workers:
            self._workers.remove(worker)
            how = worker.end()
        return how


def _end(workers: list[Worker]) -> None:
    while workers:
        workers.pop().end()


def _pickled(fn: Any, name: str) -> bytes:
    try:
        return pickle.dumps(fn)
    except Exception as error:
        raise InputError(
            f"the score {name!r} cannot be handed to other processes",
            expected="a function at the top of a module or a file, or an object that pickles",
            got=f"{type(error).__name__}: {error}",
            remedy="move it out of other functions and give it a name with def; or leave workers= out",
        ) from error
