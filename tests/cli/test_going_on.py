"""Runs that end early keep all that was scored, say how to go on, and end where undisturbed runs end."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Zmax, start
from tests.cli.test_maximize import same_chunks
from zmax.results import load_result

SLOW = ["-g", "toy.py:G", "-s", "toy.py:slow", "-n", "600", "--batch-size", "8", "--seed", "3"]


@pytest.mark.parametrize(("number", "method"), [(signal.SIGINT, "snes"), (signal.SIGTERM, "gradient")])
def test_an_interrupted_run_goes_on_to_the_same_end(
    number: signal.Signals, method: str, toys: Path, zmax: Zmax
) -> None:
    process = start(
        "maximize", *SLOW, "-m", method, "--out", "run", "--held-out", "toy.py:first", folder=toys, sleep=0.05
    )
    wait_for_chunks(process, Path("run/run.sqlite"), 6)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "zmax resume run" in err
    assert "Traceback" not in err
    assert "best" in out
    partial = load_result("run")
    assert partial.stop_reason == "interrupted"
    assert 0 < len(partial.history) < 600
    assert zmax("resume", "run").code == 0
    assert zmax("maximize", *SLOW, "-m", method, "--out", "whole", "--held-out", "toy.py:first").code == 0
    assert same_chunks(Path("run"), Path("whole"))
    one, two = load_result("run"), load_result("whole")
    assert [(e.id, e.score, e.held_out) for e in one.leaders] == [(e.id, e.score, e.held_out) for e in two.leaders]


def test_a_failing_score_stops_the_run_which_is_kept_and_goes_on(zmax: Zmax) -> None:
    words = ["-g", "toy.py:G", "-s", "toy.py:breakable", "-m", "snes", "-n", "300", "--batch-size", "8"]
    Path("broken").touch()
    Path("calls").write_text("")
    said = zmax("maximize", *words, "--out", "run")
    assert said.code == 3
    assert "the oracle is down" in said.err
    assert "zmax resume run" in said.err
    assert "Traceback" not in said.err
    kept = load_result("run")
    assert kept.best.score == max(kept.history.score)
    assert Path("run/report.html").is_file()
    Path("broken").unlink()
    assert zmax("resume", "run").code == 0
    assert load_result("run").ledger.score_calls >= 300


def test_a_failing_score_with_json_gives_error_and_figures(zmax: Zmax) -> None:
    Path("broken").touch()
    Path("calls").write_text("")
    said = zmax("maximize", "-g", "toy.py:G", "-s", "toy.py:breakable", "-m", "random", "-n", "300", "--json")
    found = json.loads(said.out)
    assert said.code == found["exit_code"] == 3
    assert "the oracle is down" in found["error"]
    assert found["result"]["best"]["score"] == load_result(found["result"]["folder"]).best.score


def test_more_calls_go_on_from_where_the_run_ended(zmax: Zmax) -> None:
    words = ["maximize", "-g", "toy.py:G", "-s", "toy.py:near", "-m", "snes", "--json", "--out"]
    assert zmax(*words, "short", "-n", "100").code == 0
    found = json.loads(zmax("resume", "short", "-n", "60", "--json").out)
    assert found["ledger"]["score_calls"] == 160
    assert len(load_result("short").history) == 160 - 2  # two were scored again at the opening


def test_more_calls_lift_a_limit_that_was_reached(zmax: Zmax) -> None:
    words = ["maximize", "-g", "toy.py:G", "-s", "toy.py:near", "-m", "random", "--json", "--out"]
    assert zmax(*words, "run", "--nfe", "100", "--seconds", "1000").code == 0
    found = json.loads(zmax("resume", "run", "-n", "50", "--json").out)
    assert found["ledger"]["score_calls"] == 150 + 1  # one decoded, and two scored, beside the history
    assert load_result("run").spec.budget.seconds == 1000


def test_a_finished_run_has_nothing_to_go_on_with(zmax: Zmax) -> None:
    words = ["maximize", "-g", "toy.py:G", "-s", "toy.py:near", "-m", "random", "-n", "100", "--json"]
    before = json.loads(zmax(*words, "--out", "run").out)
    after = json.loads(zmax("resume", "run", "--json").out)
    assert after["top"] == before["top"]
    assert after["ledger"]["score_calls"] == 100


def test_report_writes_the_page_where_it_is_asked_to(zmax: Zmax) -> None:
    assert zmax("maximize", "-g", "toy.py:G", "-s", "toy.py:near", "-m", "random", "-n", "60", "--out", "run").code == 0
    said = zmax("report", "run", "--out", "page.html")
    assert said.code == 0
    assert "page.html" in said.out
    assert Path("page.html").read_text() == str(load_result("run").best.score)


def wait_for_chunks(process: subprocess.Popen[str], file: Path, n: int) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists():
            with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
                if db.execute("SELECT count(*) FROM chunks").fetchone()[0] >= n:
                    return
        time.sleep(0.02)
    raise AssertionError(f"the run did not get going: {process.communicate(timeout=10)}")


def test_resume_names_the_code_that_it_runs_and_asks_where_a_person_can_answer(
    zmax: Zmax, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["-g", "toy.py:G", "-s", "toy.py:near", "-m", "random", "-n", "60", "--out", "run"]
    assert zmax("maximize", *words).code == 0
    said = zmax("resume", "run", "-n", "20")
    assert (said.code, load_result("run").ledger.score_calls) == (0, 80)
    assert "runs the code of toy.py:G, toy.py:near" in said.err
    monkeypatch.setattr("zmax.cli.resume.sys", Terminal())
    monkeypatch.setattr("zmax.cli.resume.typer.confirm", lambda question, err: False)
    assert zmax("resume", "run", "-n", "20").code == 0
    assert load_result("run").ledger.score_calls == 80
    assert zmax("resume", "run", "-n", "20", "--yes").code == 0
    assert load_result("run").ledger.score_calls == 100


class Terminal:
    """Standard input and error as of a person."""

    class stdin:
        isatty = staticmethod(lambda: True)

    stderr = stdin


def test_changed_code_is_refused_or_accepted(zmax: Zmax) -> None:
    words = ["-g", "toy.py:G", "-s", "toy.py:near", "-m", "random", "-n", "60", "--out", "run"]
    assert zmax("maximize", *words).code == 0
    Path("toy.py").write_text(Path("toy.py").read_text() + "\n# mended\n")
    said = zmax("resume", "run", "-n", "20")
    assert said.code == 3
    assert "toy.py of the score" in said.err
    assert "--accept-changes" in said.err
    assert zmax("resume", "run", "-n", "20", "--accept-changes").code == 0


def test_a_score_that_exits_ends_with_a_reason(zmax: Zmax) -> None:
    Path("gone.py").write_text("import sys\n\ndef leave(x):\n    sys.exit()\n")
    said = zmax("maximize", "-g", "toy.py:G", "-s", "gone.py:leave", "-n", "60", "--out", "run")
    assert said.code == 3
    assert "gives no value for any first sample" in said.err
    assert "SystemExit" in said.err


def test_a_report_goes_where_it_is_told_with_its_samples_beside_it(zmax: Zmax) -> None:
    assert zmax("maximize", "-g", "toy.py:G", "-s", "toy.py:near", "-m", "random", "-n", "60", "--out", "run").code == 0
    before = sorted(Path("run").iterdir())
    said = zmax("report", "run", "-o", "page.html")
    assert (said.code, said.out) == (0, "page     page.html\nsamples  page-samples\n")
    assert Path("page.html").is_file()
    assert Path("page-samples").is_dir()
    assert sorted(Path("run").iterdir()) == before
