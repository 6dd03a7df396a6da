"""Kill runs at every write, resume them, and compare all that they leave with runs that nobody killed.

    python -m benchmarks.faults             # every write of 16 kinds of run, then 100 random kills of the program
    python -m benchmarks.faults --every 20  # every 20th write
    python -m benchmarks.faults --kinds cma noisy --cli 0

A run is killed (SIGKILL, by itself, in a child process) just before a statement that writes, so also just after the
one before. What is compared: leaders, reference, draws, elites, looks, repeats, history, population, the method's
state, the child's weights, the reason for stopping, and every count of the ledger, samples and scores bit for bit.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

import zmax
from benchmarks.fault_kinds import KINDS, Kind
from zmax.core.budget import MEASURED
from zmax.core.errors import FailedRunError
from zmax.finetune.weights import read
from zmax.run import rounds
from zmax.store import Journal, holds_run

WRITES = ("INSERT", "UPDATE", "DELETE", "BEGIN", "COMMIT")
RESULT = Path(__file__).parent / "results" / "faults.json"


def in_child(work: Callable[[], object]) -> int:
    """Do something in a child process and return its exit code, negative for a signal."""
    child = os.fork()
    if not child:
        code = 1
        try:
            torch.set_num_threads(1)
            work()
            code = 0
        except FailedRunError:
            code = 3
        except BaseException:  # noqa: BLE001 - told here, since nothing outlives the child
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def counted(kill_at: int, found: Path | None = None) -> None:
    """Count the statements of this process that write, and kill it before that one; note the number in a file."""
    done, connect = [0], sqlite3.connect

    def traced(statement: str) -> None:
        if statement.lstrip().upper().startswith(WRITES):
            done[0] += 1
            if done[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if found is not None:
                found.write_text(str(done[0]))

    def connected(*args: Any, **options: Any) -> sqlite3.Connection:
        made = connect(*args, **options)
        made.set_trace_callback(traced)
        return made

    sqlite3.connect = connected  # type: ignore[assignment]
    rounds.CHECKPOINT_SECONDS, rounds.CHECKPOINT_SHARE = -1.0, math.inf  # a checkpoint after every round


def carry_on(kind: Kind, folder: Path) -> None:
    """Start a run, or resume it where it began before."""
    if holds_run(folder):
        kind.resume(folder)
    else:
        kind.start(folder)


def picture(folder: Path) -> dict[str, Any]:
    """Return all that a run left, in a form that can be compared."""
    result, journal = zmax.load_result(folder), Journal.open(folder)
    names = ("watched", "best at looks", "noise", "held since", "drawn", "elites", "failed", "chosen", "checks")
    seen: dict[str, Any] = {name: journal.get(name) for name in (*names, "calibrations", "learned", "moves")}
    seen["stopped"] = result.stop_reason.replace(str(folder), "FOLDER")
    seen["failed"] = str(seen["failed"]).replace(str(folder), "FOLDER")
    seen["ledger"] = {name: value for name, value in vars(result.ledger).items() if name not in MEASURED}
    looks = journal.get("looks", [])
    seen["looks"] = [{name: value for name, value in look.items() if name != "seconds"} for look in looks]
    roles = ["leader", "reference", "draw", "elite", "asked", *(f"look {number}" for number in range(len(looks)))]
    seen["kept"] = {role: [vars(entry) for entry in journal.kept(role)] for role in roles}
    seen["repeats"] = journal.repeats()
    seen["chunks"] = [
        {name: value for name, value in vars(chunk).items() if name not in ("ledger", "grad")}
        | {"calls": chunk.ledger.score_calls}
        for chunk in journal.chunks()
    ]
    population, place = journal.population(), journal.last_checkpoint()
    seen["population"] = None if population is None else vars(population)
    if place is not None:
        state = torch.load(io.BytesIO(place.state), weights_only=True)
        seen["place"] = {"round": place.round, "next id": place.next_id, "state": state}
    seen["child"] = None if not looks else read(result.weights)[0]
    return seen


def differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """Name the places at which two pictures differ."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from differences(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from differences(a, b, f"{where}/{i}")
    elif isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.dtype != other.dtype or not torch.equal(one.nan_to_num(1e30), other.nan_to_num(1e30)):
            yield where
    elif type(one) is not type(other) or not (one == other or (one != one and other != other)):
        yield f"{where}: {str(one)[:60]} and {str(other)[:60]}"


def tried(kind: Kind, home: Path, kill_at: int, whole: dict[str, Any], code: int) -> list[str]:
    """Kill a run at a write and return where it differs from the whole one, once resumed."""
    folder = home / f"killed-{kill_at}"

    def killed() -> None:
        counted(kill_at)
        kind.start(folder)

    def resumed() -> None:
        counted(0)
        carry_on(kind, folder)

    if in_child(killed) == code:
        return []  # it had fewer writes this time
    ended = in_child(resumed)
    found = [] if ended == code else [f"the exit code: {ended} instead of {code}"]
    return [*found, *differences(whole, picture(folder))] if holds_run(folder) else [*found, "there is no run"]


def kill_at_writes(kind: Kind, chosen: Callable[[int], Sequence[int]]) -> dict[str, Any]:
    """Kill runs of a kind at writes chosen by their number; return what differs by write."""
    differing, kills = dict[int, list[str]](), 0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)

        def undisturbed() -> None:
            counted(0, home / "writes")
            kind.start(home / "whole")

        in_child(lambda: kind.start(home / "warm"))  # what is measured once and kept for all is paid here
        code = in_child(undisturbed)
        writes, whole = int((home / "writes").read_text()), picture(home / "whole")
        for kill_at in chosen(writes):
            kills += 1
            found = tried(kind, home, kill_at, whole, code)
            if found:
                differing[kill_at] = found
    return {"writes": writes, "kills": kills, "exit code": code, "differ": differing}


def kill_the_program(kills: int, chance: random.Random) -> dict[str, Any]:
    """Kill the command line at random moments, resume it until it ends, and compare; return what differs."""
    words = ["maximize", "-g", "toy.py:G", "-s", "toy.py:near", "--held-out", "toy.py:first", "-m", "snes"]
    words += ["-n", "1200", "--batch-size", "8", "--seed", "3", "--quiet", "--out"]
    done, differing = 0, list[str]()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "toy.py").write_text(TOY)
        began = time.monotonic()
        program(home, [*words, "whole"]).wait()
        usual, whole = time.monotonic() - began, picture(home / "whole")
        while done < kills:
            name = f"run-{done}"
            while True:
                child = program(home, ["resume", name] if holds_run(home / name) else [*words, name])
                if done < kills and chance.random() < 0.7:
                    try:
                        child.wait(chance.uniform(0.3, 1.0) * usual)
                    except subprocess.TimeoutExpired:
                        child.kill()
                        done += 1
                if (code := child.wait()) != -signal.SIGKILL:
                    differing += [f"{name} ended with {code}"] if code else []
                    break
            differing += [f"{name}{place}" for place in differences(whole, picture(home / name))]
            print(f"{name} whole after {done} kills  {len(differing)} differ", file=sys.stderr, flush=True)
    return {"kills": done, "differ": differing}


def program(folder: Path, words: Sequence[str]) -> subprocess.Popen[bytes]:
    code = "import torch; torch.set_num_threads(1); from zmax.cli import main; main()"
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-c", code, *words], cwd=folder, stdout=quiet, stderr=quiet)


TOY = """
import time, torch, zmax
G = zmax.generator(torch.nn.Identity(), shape=(4,), modality="vector", name="G")
def near(x):
    time.sleep(0.03)
    return -((x - 1) ** 2).sum(1)
def first(x):
    return x[:, 0]
"""


def main() -> None:
    """Kill, resume, compare, print and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--every", type=int, default=1, help="kill at every so many writes")
    parser.add_argument("--cli", type=int, default=100, help="random kills of the program")
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    for name in asked.kinds:
        found[name] = kill_at_writes(KINDS[name], lambda writes: range(1, writes + 1, asked.every))
        differ = found[name]["differ"]
        print(f"{name:12} {found[name]['kills']:5} kills  {len(differ):4} differ", flush=True)
        for kill_at, places in list(differ.items())[:3]:
            print(f"    at write {kill_at}: {'; '.join(places[:4])}", flush=True)
    if asked.cli:
        found["program"] = kill_the_program(asked.cli, random.Random(0))
        print(f"{'program':12} {found['program']['kills']:5} kills  {len(found['program']['differ']):4} differ")
    if asked.every == 1 and asked.kinds == list(KINDS):
        RESULT.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(any(part["differ"] for part in found.values()))


if __name__ == "__main__":
    main()
