"""What workers save: 500 calls of a score that takes 0.2 s, with one worker and with eight, two of which are killed.

    python -m benchmarks.workers

The score only waits, so the figure holds on a machine with fewer processors, too. The time is that of the whole run,
with the start of the workers. Every sample is noted when its scoring begins: none may be missing, none may come twice.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import zmax
from zmax.run.opening import PAIR

RESULT = Path(__file__).parent / "results" / "workers.json"
CALLS, SECONDS, WORKERS, KILLED, AT_LEAST = 500, 0.2, 8, 2, 7.0
BATCH = 120


class Slow:
    """Takes its time, and notes what it is asked.

    Args:
        log: where it is noted.
        seconds: how long it takes.
    """

    def __init__(self, log: Path, seconds: float) -> None:  # noqa: D107 - as above
        self.log, self.seconds = log, seconds

    def __call__(self, word: str) -> float:
        with self.log.open("a") as log:
            log.write(f"{word} {os.getpid()}\n")
        time.sleep(self.seconds)
        return float(word)


def killer(log: Path, times: list[float]) -> threading.Thread:
    """After so many seconds, again and again, kill the worker that was the last to begin."""

    def work() -> None:
        for seconds in times:
            time.sleep(seconds)
            while not log.exists() or not log.read_text():
                time.sleep(0.01)
            os.kill(int(log.read_text().split()[-1]), signal.SIGKILL)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def measured(workers: int, killed: int, calls: int = CALLS, seconds: float = SECONDS) -> dict[str, Any]:
    """Run once, and return how long it took, and what happened to each sample."""
    G = zmax.generator(lambda z: [f"{v:.7f}" for v in z[:, 0].tolist()], shape=(4,), modality="text")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        S = zmax.score(Slow(log, seconds), per_sample=True, workers=workers, name="slow")
        killers = killer(log, [0.3 * calls * seconds / workers] * killed)
        began = time.monotonic()
        result = zmax.maximize(G, S, "random", budget=calls, seed=0, batch_size=BATCH, out=Path(folder, "run"))
        took = time.monotonic() - began
        killers.join()
        begun = Counter(log.read_text().split()[::2])
    return {
        "workers": workers,
        "killed": killed,
        "seconds": took,
        "score_calls": result.ledger.score_calls,
        "begun": sum(begun.values()),
        "begun_twice": sum(n > 1 for n in begun.values()),
        "failures": list(result.history.failures.values()),
        "values": result.history.score.tolist(),
    }


def main() -> None:
    measured(1, 0, 40, 0.0)  # loads what is loaded once
    one, many = measured(1, 0), measured(WORKERS, KILLED)
    values = zip(one.pop("values"), many.pop("values"), strict=True)
    different = [a for a, b in values if a != b]
    faster = one["seconds"] / many["seconds"]
    found = {"one": one, "many": many, "faster": faster, "different": len(different), "seconds_a_call": SECONDS}
    print(json.dumps(found, indent=2))
    RESULT.write_text(json.dumps(found, indent=2) + "\n")
    assert len(different) == len(many["failures"]) == KILLED
    assert one["begun"] == many["begun"] == one["score_calls"] == many["score_calls"] == CALLS
    assert many["begun_twice"] == PAIR  # which the opening scores again, alone
    assert faster >= AT_LEAST, f"{faster:.2f}x"


if __name__ == "__main__":
    main()
