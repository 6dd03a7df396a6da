"""Break the source in many places, one at a time, and count the breaks that no test notices.

    make mutants                                  about 200 breaks over all rooms, 12 a room at least
    make mutants MUTANTS_ARGS="--rooms core store --each 25 --seed 3 --out /tmp/mutants.json"

`sample` says what is broken and what is left out, `related` which tests are tried, `trials` how. A break is killed if
a test fails or dies, or takes far longer than it should. Survivors that were looked at and accepted stand in
accepted.json with the reason; they count as survivors all the same.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.mutants.related import related, touched
from benchmarks.mutants.sample import ROOMS, Mutant, drawn
from benchmarks.mutants.trials import at_once, attempt, copied

ROOT = Path(__file__).resolve().parents[2]
ACCEPTED = json.loads((Path(__file__).parent / "accepted.json").read_text())
PATIENCE = 60.0  # seconds that a run may take beyond three times what its tests took before


def main() -> None:
    """Draw, try, print and keep."""
    options, started = arguments(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        pristine = copied(ROOT, Path(folder) / "pristine")
        copies = [shutil.copytree(pristine, Path(folder) / f"copy{i}") for i in range(options.workers)]
        mutants = drawn(pristine, options.rooms, options.count, options.seed, options.each)
        rows = sorted(tried(mutants, pristine, copies, options.tests), key=lambda row: (row["file"], row["line"]))
    result = {"seed": options.seed, "minutes": round((time.monotonic() - started) / 60, 1), **counted(rows)}
    result["survivors"] = [row for row in rows if row["end"] in ("survived", "untested")]
    options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    show(result)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants")
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=ROOMS)
    parser.add_argument("--count", type=int, default=200, help="breaks, over the rooms by their size")
    parser.add_argument("--each", type=int, help="breaks in each room, in place of --count")
    parser.add_argument("--tests", nargs="+", help="the folders of tests to use, such as core report; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "mutants.json")
    return parser.parse_args()


def tried(
    mutants: list[Mutant], pristine: Path, copies: list[Path], only: list[str] | None
) -> Iterator[dict[str, Any]]:
    """Try each break; yield what became of it."""
    measures, jobs = touched(ROOT, pristine, copies, only), []
    for mutant in mutants:
        tests, expected = related(mutant, (pristine / mutant.file).read_text(), measures)
        if tests:
            work = functools.partial(attempt, pristine=pristine, file=mutant.file, code=mutant.code, tests=tests)
            jobs.append(((mutant, len(tests)), work, PATIENCE + 3 * expected))
        else:
            yield row(mutant, "untested", 0)
    for (mutant, tests), outcome in at_once(jobs, copies):
        end = {0: "survived", "late": "late"}.get(outcome["code"], "killed")
        print(f"{end:8} {mutant.file}:{mutant.line} {mutant.operator}", flush=True)
        yield row(mutant, end, tests)


def row(mutant: Mutant, end: str, tests: int) -> dict[str, Any]:
    """Return what is kept of a break."""
    reasons = [known["reason"] for known in ACCEPTED if bare(known["diff"]) == bare(mutant.diff)]
    place = {"room": mutant.room, "file": mutant.file, "line": mutant.line, "operator": mutant.operator}
    return place | {"diff": mutant.diff, "end": end, "tests": tests, "accepted": "".join(reasons[:1])}


def bare(diff: Iterable[str]) -> list[str]:
    """Return a diff without its spaces."""
    return ["".join(line.split()) for line in diff]


def counted(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Count the ends of each room's breaks, and overall."""
    rooms = {room: [row["end"] for row in rows if row["room"] == room] for room in ROOMS}
    rooms["all"] = [row["end"] for row in rows]
    return {
        "rooms": {
            room: {end: ends.count(end) for end in ("killed", "late", "survived", "untested")}
            | {"share": round(1 - (ends.count("survived") + ends.count("untested")) / len(ends), 3)}
            for room, ends in rooms.items()
            if ends
        }
    }


def show(result: dict[str, Any]) -> None:
    """Print the survivors as diffs, then the table."""
    for survivor in result["survivors"]:
        print(f"\n{survivor['file']}:{survivor['line']} ({survivor['operator']}, {survivor['tests']} tests)")
        print(*survivor["diff"], sep="\n")
        if survivor["accepted"]:
            print(f"accepted: {survivor['accepted']}")
    print(f"\n{'room':12}{'killed':>8}{'late':>8}{'survived':>10}{'untested':>10}{'share':>8}")
    for room, ends in result["rooms"].items():
        share = f"{100 * ends['share']:.0f} %"
        print(f"{room:12}{ends['killed']:8}{ends['late']:8}{ends['survived']:10}{ends['untested']:10}{share:>8}")
    print(f"seed {result['seed']}, {result['minutes']} minutes")


if __name__ == "__main__":
    main()
