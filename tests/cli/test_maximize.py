"""The main job from the command line, its figures, and its repetition."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from tests.cli.conftest import Zmax, start
from zmax.cli.output import emit
from zmax.results import load_result
from zmax.store import Journal


def read(text: str) -> Any:
    """Parse one JSON document that keeps to the standard."""

    def refuse(token: str) -> NoReturn:
        raise AssertionError(f"{token} is not JSON")

    return json.loads(text, parse_constant=refuse)


def run_of(zmax: Zmax, *more: str) -> Any:
    said = zmax("maximize", "-g", "toy.py:G", "-s", "toy.py:near", "-m", "snes", "-n", "200", "--json", *more)
    assert said.code == 0, said.err
    return read(said.out)


def test_json_is_the_summary_of_the_kept_run(zmax: Zmax) -> None:
    found = run_of(zmax, "--out", "run", "--held-out", "toy.py:first")
    kept = load_result("run")
    assert found == read(json.dumps(kept.summary()))
    assert found["best"]["score"] == max(kept.history.score)
    assert found["best"]["held_out"] == pytest.approx(float(kept.best.sample[0]))
    assert found["ledger"]["score_calls"] == 200


def test_the_printed_command_repeats_the_run(zmax: Zmax) -> None:
    settings = ["--seed", "7", "-p", "step=0.2", "--batch-size", "16", "--keep", "4", "--max-failures", "0.25"]
    first = run_of(zmax, *settings, "--nfe", "5000", "--score-grads", "900", "--seconds", "300.5")
    command = shlex.split(first["command"])
    assert command[0] == "zmax"
    second = read(zmax(*command[1:], "--json").out)
    assert second["command"] == first["command"]
    assert second["top"] == first["top"]
    assert second["folder"] != first["folder"]
    assert same_chunks(Path(first["folder"]), Path(second["folder"]))


def test_other_seeds_give_other_runs(zmax: Zmax) -> None:
    assert run_of(zmax, "--seed", "1")["best"] != run_of(zmax, "--seed", "2")["best"]


def test_folders_are_numbered_and_named_after_the_run(zmax: Zmax) -> None:
    folders = [run_of(zmax)["folder"] for _ in range(3)]
    name = "runs/toy.py-G-toy.py-near-snes-200"
    assert folders == [name, f"{name}-2", f"{name}-3"]


def test_the_default_limit_gives_way_to_any_other(zmax: Zmax) -> None:
    words = ["maximize", "-g", "toy.py:G", "-s", "toy.py:near", "-m", "random", "--json"]
    assert read(zmax(*words).out)["ledger"]["score_calls"] == 2000
    assert read(zmax(*words, "--nfe", "100").out)["ledger"]["nfe"] == 100


def test_the_table_compares_best_top_and_random(zmax: Zmax) -> None:
    words = ["-g", "toy.py:G", "-s", "toy.py:near", "-m", "random", "-n", "400", "--held-out", "toy.py:first"]
    said = zmax("maximize", *words, "--out", "run")
    assert said.code == 0
    rows = {line[:18].strip(): line.split()[-3:] for line in said.out.splitlines()}
    kept = load_result("run")
    top, random = kept.leaders, kept.reference
    assert rows["best"][0] == f"{top[0].score:.4g}"
    assert rows["mean of top 16"][0] == f"{sum(e.score for e in top) / 16:.4g}"
    held_out = sum(float(e.sample[0]) for e in random) / len(random)
    assert float(rows["mean of 16 random"][1]) == pytest.approx(held_out, rel=1e-3)
    assert f"{kept.ledger.score_calls} score calls" in said.out
    assert Path("run/report.html").is_file()
    assert f"repeat     {kept.spec.command()}" in said.out


@pytest.mark.filterwarnings("ignore:the held-out score")  # it is the score itself
def test_log_odds_are_shown_as_probabilities(zmax: Zmax) -> None:
    source = Path("toy.py").read_text()
    Path("odds.py").write_text(
        source + "\nfrom zmax.core.score import Score\nclass Odds(Score):\n"
        "    name, unit = 'odds', 'log-odds'\n    def __call__(self, x):\n        return x[:, 0]\n"
    )
    words = ["-g", "odds.py:G", "-s", "odds.py:Odds", "--held-out", "odds.py:Odds", "-m", "random", "-n", "400"]
    said = zmax("maximize", *words, "--out", "run")
    row = next(line for line in said.out.splitlines() if line.strip().startswith("best")).split()
    probability = f"{torch.sigmoid(torch.tensor(load_result('run').best.score, dtype=torch.float64)):.4g}"
    assert row[2] == row[4] == probability


def test_strings_are_samples_too(zmax: Zmax) -> None:
    said = zmax("maximize", "-g", "toy.py:words", "-s", "toy.py:length", "-n", "100", "--json")
    found = read(said.out)
    assert len(load_result(found["folder"]).best.sample) == found["best"]["score"]


def test_numbers_that_are_not_finite_become_null(capfd: pytest.CaptureFixture[str]) -> None:
    emit({"a": [float("nan"), 1.5, (float("-inf"), True)], "b": None})
    assert read(capfd.readouterr().out) == {"a": [None, 1.5, [None, True]], "b": None}


def test_standard_output_is_the_object_alone_whatever_a_score_prints(toys: Path) -> None:
    words = ["-g", "toy.py:G", "-s", "toy.py:chatty", "-m", "random", "-n", "50", "--out", "run"]
    process = start("maximize", *words, "--json", "--progress", folder=toys)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.count("\n") == 1
    assert read(out)["ledger"]["score_calls"] == 50
    assert "noise from python" in err
    assert "noise from a program" in err
    page = (toys / "run" / "report.html").read_text()
    assert "<html" in page.lower()
    assert any((toys / "run" / "samples").iterdir())


def same_chunks(a: Path, b: Path) -> bool:
    """Tell whether two runs evaluated the same points, bit for bit, in the same batches."""
    one, two = (list(Journal.open(folder).chunks()) for folder in (a, b))
    keys = [
        [(c.round, c.offset, c.first_id, c.failures, c.ledger.score_calls) for c in chunks] for chunks in (one, two)
    ]
    tensors = [[t for c in chunks for t in (c.u, c.score, c.plausibility)] for chunks in (one, two)]
    return keys[0] == keys[1] and all(torch.equal(x, y) for x, y in zip(*tensors, strict=True))


@pytest.mark.filterwarnings("default")
def test_warnings_are_shown_when_they_are_found_and_at_the_end(zmax: Zmax) -> None:
    said = zmax("maximize", "-g", "toy.py:G", "-s", "0*toy.py:near", "-m", "random", "-n", "100", "--out", "run")
    (line,) = load_result("run").warnings
    assert said.err.count(f"warning: {line}") == 1
    assert f"warning    {line}" in said.out
    assert "cannot tell them apart" in line
    assert "the same score, 0" in line


def test_a_run_begins_at_the_best_of_another_and_says_so(zmax: Zmax) -> None:
    run_of(zmax, "--out", "before", "--keep", "3")
    words = ["maximize", "-g", "toy.py:G", "-s", "toy.py:first", "-m", "cma", "-n", "100", "--start", "before"]
    found = read(zmax(*words, "--strength", "0.2", "--json").out)
    before = load_result("before")
    assert found["began_at"] == "the best 3 samples of before"
    assert found["began_with"] == max(float(e.sample[0]) for e in before.top(3))
    assert found["best"]["score"] >= found["began_with"]
    assert "--start before --strength 0.2" in found["command"]
    shown = zmax(*words).out
    assert "began at   the best 3 samples of before; the best of it has " in shown
    assert zmax("maximize", "-g", "toy.py:G", "-s", "toy.py:first", "--start", "nowhere").code == 2


def test_constraints_are_words_and_what_meets_them_is_told(zmax: Zmax) -> None:
    said = zmax(
        "maximize", "-g", "toy.py:G", "-s", "toy.py:near", "-m", "cma", "-n", "300", "--where", "toy.py:first <= 0"
    )
    assert said.code == 0, said.err
    assert "samples meet first <= 0; the best is the best of them" in said.out
    folder = next(Path("runs").iterdir())
    kept = load_result(folder)
    assert kept.spec.score == "toy.py:near where toy.py:first <= 0"
    assert kept.best.parts["first"] == pytest.approx(0, abs=0.1)
    assert kept.best.score == pytest.approx(-1, abs=0.2)
    again = zmax(*shlex.split(str(kept.spec.command()))[1:], "--json")
    assert read(again.out)["best"]["score"] == kept.best.score


@pytest.mark.filterwarnings("always")
def test_constraints_that_nothing_meets_are_a_warning(zmax: Zmax) -> None:
    words = ["-g", "toy.py:G", "-s", "toy.py:near", "-m", "random", "-n", "60", "--where", "toy.py:first >= 9"]
    said = zmax("maximize", *words)
    assert said.code == 0, said.err
    assert "warning: no sample of 58 meets" in said.err
    assert "no sample of 58 meets first >= 9; the nearest, shown as the best, has first" in said.out


def test_a_constraint_without_a_score_is_refused(zmax: Zmax) -> None:
    said = zmax("sample", "-g", "toy.py:G", "--where", "toy.py:first >= 0")
    assert said.code == 2
    assert "--where" in said.err


def test_several_scores_have_a_front_that_is_told_and_can_be_repeated(zmax: Zmax) -> None:
    words = ("maximize", "-g", "toy.py:G", "-s", "toy.py:near", "-s", "2*toy.py:first", "-m", "snes", "-n", "160")
    found = read(zmax(*words, "--where", "toy.py:first <= 1", "--json").out)
    assert found["goals"] == ["near", "2*first"]
    assert len(found["front"]) > 2
    assert all(entry["feasible"] for entry in found["front"])
    again = read(zmax(*shlex.split(found["command"])[1:], "--json").out)
    assert again["front"] == found["front"]
    assert again["hypervolume"] == found["hypervolume"]
    said = zmax(*words).out
    assert "samples are beaten by no other: near from" in said
    assert "highest near" in said
    assert "highest 2*toy.py:first" in said
