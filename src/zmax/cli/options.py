"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zmax.core.setting import RESULT

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.", show_default=False)]

Json = Annotated[
    bool,
    typer.Option(
        "--json", rich_help_panel=RESULT, help="Print one JSON object on standard output, all else on stderr."
    ),
]
ShowProgress = Annotated[
    bool | None,
    typer.Option(
        "--progress/--quiet",
        rich_help_panel=RESULT,
        help="Show a progress bar; by default where a person watches.",
        show_default=False,
    ),
]
