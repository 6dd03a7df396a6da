"""What a person sees of a run in the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

import zmax
from tests.run.toys import first, identity
from zmax.core.budget import Ledger
from zmax.run.progress import RichProgress, Silent, Snapshot, as_listener

SPEC = zmax.maximize(identity(), first, "random", 20, progress=False).spec


def shown(snapshot):
    """Return what a terminal is sent, from the opening of the bar to its end."""
    console = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)
    bar = RichProgress(console)
    bar.started(SPEC)
    bar.updated(snapshot)
    bar.finished("score_calls")
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("share", "seconds", "times"),
    [(0.25, 60.0, "1:00  3:00 left"), (0.5, 3700.0, "1:01:40  1:01:40 left"), (1.0, 9.0, "0:09  0:00 left")],
)
def test_the_bar_says_where_the_run_stands_and_what_is_left(share, seconds, times):
    text = shown(Snapshot(1.5, 0.25, share, Ledger(score_calls=70, seconds=seconds)))
    assert f"best 1.5  plausibility 0.25  calls 70  {times}" in text


def test_before_the_first_score_there_is_neither_best_nor_time_left():
    text = shown(Snapshot(None, None, 0.0, Ledger(failures=3, seconds=2.0)))
    assert "no score yet  calls 0  failed 3  0:02" in text
    assert "left" not in text


def test_the_bar_says_how_many_samples_are_being_scored():
    text = shown(Snapshot(1.0, None, 0.0, Ledger(score_calls=9, failures=1), running=3))
    assert "calls 9  failed 1  3 running  0:00" in text


def test_the_end_gives_the_cursor_back():
    assert shown(Snapshot(None, None, 0.0, Ledger())).rindex("\x1b[?25h") > 0


def test_a_bar_is_for_those_who_ask_and_for_terminals(monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert isinstance(as_listener(None), Silent)
    assert isinstance(as_listener(False), Silent)
    assert isinstance(as_listener(True), RichProgress)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert isinstance(as_listener(None), RichProgress)
    assert as_listener(mine := Silent()) is mine
