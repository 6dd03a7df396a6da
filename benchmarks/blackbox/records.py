"""The suite's runs as a file: one line of JSON each, figures to five digits."""

from __future__ import annotations

import json
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.blackbox.harness import Run, Winner

RESULT = Path(__file__).parents[1] / "results" / "blackbox.jsonl"


@dataclass(frozen=True)
class Job:
    """What one run is to do.

    Attributes:
        setting: of a peer; None for zmax's methods.
        seed: of the problem and of the method.
        budget: score calls.
    """

    problem: str
    method: str
    setting: float | None
    seed: int
    budget: int


def line(job: Job, run: Run) -> str:
    """Return the line of a run; winners are rows in the order of the fields of `Winner`."""
    figures = asdict(run) | {"winners": [astuple(winner) for winner in run.winners]}
    return json.dumps(asdict(job) | _short(figures), separators=(",", ":")) + "\n"


def read(path: Path = RESULT) -> dict[Job, Run]:
    """Return the runs of a file; of two of the same job, the later."""
    records = map(json.loads, path.read_text().splitlines() if path.exists() else ())
    return dict(map(_parse, records))


def _parse(record: dict[str, Any]) -> tuple[Job, Run]:
    job = Job(**{field.name: record.pop(field.name) for field in fields(Job)})
    return job, Run(**record | {"winners": [Winner(*row) for row in record["winners"]]})


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _short(each) for name, each in value.items()}
    return [_short(each) for each in value] if isinstance(value, (list, tuple)) else value
