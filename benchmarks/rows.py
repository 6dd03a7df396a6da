"""Rows of a benchmark that takes long: shown and kept as they come, so that none is lost."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def keep(rows: Iterable[dict[str, Any]], file: Path | None) -> None:
    """Print each row when it is there, and add it to a file of JSON lines, if there is one."""
    for row in rows:
        print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
        if file is not None:
            with file.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
