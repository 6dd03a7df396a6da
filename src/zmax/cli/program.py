"""The program: its verbs, what it says when something goes wrong, and the code it ends with."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn, cast

import typer

from zmax import __version__
from zmax.cli.condition import condition
from zmax.cli.finetune import finetune
from zmax.cli.listing import list_
from zmax.cli.maximize import maximize
from zmax.cli.output import emit, say
from zmax.cli.report import report
from zmax.cli.resume import resume
from zmax.cli.sample import sample
from zmax.core.errors import ZmaxError, ZmaxWarning

DONE, BUG, BAD_INPUT, STOPPED, INTERRUPTED = 0, 1, 2, 3, 130

HELP = """Find samples of a generative model G that maximise a score S.

\b
The main job: 2000 score calls for avatars with glasses, judged by a second
classifier:
  zmax maximize -g avatars-gan -s attribute:glasses \\
      --held-out attribute-judge:glasses

\b
Your own model and score, from your own file:
  zmax maximize -g my_file.py:decoder -s my_file.py:score

\b
The generator's own weights moved, until all its samples score high:
  zmax finetune -g avatars-gan -s attribute:glasses --until "p05>=2" -n 4000

\b
A generator that is asked for a score:
  zmax condition -g avatars-flow -s compressibility -n 4000 --out runs/asked
  zmax sample -g conditioned:runs/asked --ask -0.19

\b
Exit codes: 0 done; 2 bad usage or input; 3 stopped by a failing score,
generator or disk, with all that was scored kept; 130 interrupted.
"""

_UsageError = cast("type[Exception]", typer.BadParameter.__mro__[2])
"""Base of all errors that typer raises about the words of a command line."""

app = typer.Typer(
    name="zmax",
    help=HELP,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("maximize")(maximize)
app.command("sample")(sample)
app.command("finetune")(finetune)
app.command("condition")(condition)
app.command("list")(list_)
app.command("resume")(resume)
app.command("report")(report)


def _version(asked: bool) -> bool:
    if asked:
        print(f"zmax {__version__}")
        raise typer.Exit()
    return asked


@app.callback()
def _top(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = (
        False
    ),
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line of this process and end it with the right code."""
    before = signal.signal(signal.SIGTERM, _interrupt) or signal.SIG_DFL
    if hasattr(os, "register_at_fork"):
        child = partial(_release, before)
        os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=child)
    try:
        code = run(sys.argv[1:])
    finally:
        _restore(before)
    sys.exit(code)


def run(words: Sequence[str]) -> int:
    """Run one command line.

    Args:
        words: what follows `zmax`.

    Returns:
        The exit code: 0 done, 1 a bug of ours, 2 bad usage or input, 3 stopped by a failing score, generator or
        store, 130 interrupted.
    """
    as_json = "--json" in words
    try:
        command: Any = typer.main.get_command(app)
        with warnings.catch_warnings():
            warnings.showwarning = _show(warnings.showwarning)
            code = command.main(args=list(words) or ["--help"], prog_name="zmax", standalone_mode=False)
    except ZmaxError as error:
        return _fail(str(error), error.exit_code, as_json)
    except _UsageError as error:
        return _fail(_usage(error), BAD_INPUT, as_json)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED, as_json)
    except SystemExit as error:
        return _fail(f"the run's own code ended the program: sys.exit({error.code!r})", STOPPED, as_json)
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return DONE
    except OSError as error:
        return _fail(f"the operating system refuses: {error}", STOPPED, as_json)
    except Exception as error:  # noqa: BLE001 - the last resort of the program
        return _unexpected(error, as_json)
    return code if isinstance(code, int) else DONE


def _fail(message: str, code: int, as_json: bool) -> int:
    say(f"error: {message}")
    if as_json:
        emit({"error": message, "exit_code": code})
    return code


def _unexpected(error: Exception, as_json: bool) -> int:
    """Tell an exception of the user's own code, with its place, from a bug of ours."""
    place = users_line(error)
    what = f"{type(error).__name__}: {error}"
    if place:
        return _fail(f"{what}\n  remedy:   see {place}", BAD_INPUT, as_json)
    traceback.print_exc()
    return _fail(f"{what}\n  this is a bug in zmax: please report it", BUG, as_json)


def users_line(error: Exception) -> str | None:
    """Return file and line of the innermost frame that belongs neither to zmax nor to an installed package."""
    foreign = (Path(__file__).parents[1], Path(sys.prefix), Path(sys.base_prefix))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_file() and not any(path.resolve().is_relative_to(folder.resolve()) for folder in foreign):
            return f"{path}, line {frame.lineno}: {frame.line}"
    return None


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    place = context.command_path if context is not None else "zmax"
    return f"{error.format_message()}\n  remedy:   see `{place} --help`"


def _show(others: Callable[..., None]) -> Callable[..., None]:
    """Return what shows our own warnings as they are worded, and others as ever."""

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        say(f"warning: {message}") if issubclass(category, ZmaxWarning) else others(message, category, *place)

    return show


def _hold() -> None:
    """Let SIGTERM wait, so that children that the user's code forks never hear it with our ears."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _release(handler: Any = None) -> None:
    """Hear SIGTERM again, in a child with the handler that was there before ours."""
    if handler is not None:
        _restore(handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _restore(before: Any) -> None:
    if signal.getsignal(signal.SIGTERM) is _interrupt:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
