"""How a run ends for the person who started it: pages, figures, and the exit code."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from zmax.cli.output import emit, only_stderr, say
from zmax.cli.summary import show, show_conditioning, show_tuning
from zmax.core.errors import FailedRunError
from zmax.results import ConditionResult, Result, TuneResult, load_result
from zmax.store import FILE

DONE, STOPPED, INTERRUPTED = 0, 3, 130


def conclude(run: Callable[[], Result | TuneResult], folder: Path, *, as_json: bool) -> int:
    """Carry out a run, write its pages and print its figures, however it ends.

    Args:
        run: starts or resumes the run.
        folder: where the run is kept.
        as_json: print one JSON object instead of tables.

    Returns:
        The exit code.
    """
    with only_stderr(as_json):
        result, code, error = _carry_out(run, folder)
        if code == INTERRUPTED:
            say(f"interrupted; all that was scored is kept: zmax resume {shlex.quote(str(folder))}")
        page, samples = write_pages(result)
    if as_json:
        summary = result.summary()
        emit({"error": error, "exit_code": code, "result": summary} if error else summary)
    elif isinstance(result, Result):
        show(result, page, samples)
    elif isinstance(result, ConditionResult):
        show_conditioning(result, page, samples)
    else:
        show_tuning(result, page, samples)
    if error:
        say(f"error: {error}\n  kept:     {folder}")
    return code


def write_pages(result: Result | TuneResult, page: Path | None = None) -> tuple[Path, Path]:
    """Write the page of a run, and its kept samples beside it.

    Args:
        result: a run that has a folder.
        page: the file, `report.html` in the run's folder by default.

    Returns:
        The page, and the folder of the samples: `samples` in the run's folder, or beside the page, named after it.
    """
    from zmax.report import export_samples

    assert result.folder is not None, "runs of the command line have a folder"
    samples = result.folder / "samples" if page is None else page.with_name(f"{page.stem}-samples")
    export_samples(result, samples)
    return result.report(page), samples


def _carry_out(run: Callable[[], Result | TuneResult], folder: Path) -> tuple[Result | TuneResult, int, str]:
    try:
        result = run()
    except FailedRunError as error:
        if not isinstance(error.result, (Result, TuneResult)):
            raise
        return error.result, STOPPED, str(error)
    except KeyboardInterrupt:
        if not (folder / FILE).exists():
            raise
        return load_result(folder), INTERRUPTED, ""
    return result, INTERRUPTED if result.stop_reason == "interrupted" else DONE, ""
