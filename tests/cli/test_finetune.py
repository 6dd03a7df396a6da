"""`zmax finetune` from the command line: its figures, its folder, how it ends and how it goes on."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

import zmax as library
from tests.cli.conftest import Zmax
from tests.cli.test_maximize import read
from zmax.results import TuneResult, load_result

WORDS = ["-g", "toy.py:tunable", "-s", "toy.py:total", "-m", "direct", "-p", "keep=0.0", "--rate", "0.01"]


def tuned(zmax: Zmax, *more: str) -> Any:
    said = zmax("finetune", *WORDS, "-n", "200", "--looks", "3", "--json", *more)
    assert said.code == 0, said.err
    return read(said.out)


def test_json_is_the_summary_of_the_kept_finetune(zmax: Zmax) -> None:
    found = tuned(zmax, "--out", "run", "--held-out", "toy.py:first")
    kept = load_result("run")
    assert isinstance(kept, TuneResult)
    assert found == json.loads(json.dumps(kept.summary()), parse_constant=lambda token: None)
    assert found["after"]["score"] > found["before"]["score"]
    assert found["ledger"]["score_calls"] <= 200


def test_the_child_is_a_generator_for_every_other_verb(zmax: Zmax) -> None:
    tuned(zmax, "--out", "run")
    child = library.load_generator("tuned:run")
    fresh = load_result("run").after  # type: ignore[union-attr]
    u = torch.stack([entry.u for entry in fresh.entries])
    assert torch.equal(child.decode(child.space.latents(u)), torch.stack([entry.sample for entry in fresh.entries]))
    said = zmax("maximize", "-g", "tuned:run", "-s", "toy.py:total", "-m", "random", "-n", "40", "--json")
    assert said.code == 0, said.err


def test_the_printed_command_repeats_the_finetune(zmax: Zmax) -> None:
    first = tuned(zmax, "--seed", "5", "--fresh", "8", "--updates", "2", "--keep", "last", "--layers", "weight")
    second = read(zmax(*shlex.split(first["command"])[1:], "--json").out)
    assert second["command"] == first["command"]
    timeless = [{**found["after"], "seconds": 0, "nfe": 0} for found in (first, second)]
    assert timeless[0] == timeless[1]


def test_the_table_compares_parent_and_child(zmax: Zmax) -> None:
    said = zmax("finetune", *WORDS, "-n", "200", "--out", "run", "--held-out", "toy.py:first")
    kept = load_result("run")
    assert isinstance(kept, TuneResult)
    rows = {line[:32].strip(): line.split()[-2:] for line in said.out.splitlines() if line.startswith(" ")}
    before, after = kept.before.look, kept.after.look
    assert rows["score, mean"] == [f"{before.score:.4g}", f"{after.score:.4g}"]
    assert rows["score, 5 % quantile"] == [f"{before.quantile(0.05):.4g}", f"{after.quantile(0.05):.4g}"]
    assert rows["held-out score, mean"] == [f"{before.judged:.4g}", f"{after.judged:.4g}"]
    for line in ("verdict    The score rose", "child      tuned:run", f"repeat     {kept.spec.command()}"):
        assert line in said.out
    assert Path("run/child.safetensors").is_file()


def test_looks_and_checks_are_told_while_it_goes_on(zmax: Zmax) -> None:
    said = zmax("finetune", *WORDS, "-n", "200", "--looks", "3", "--progress", "--out", "run")
    kept = load_result("run")
    assert isinstance(kept, TuneResult)
    for look in kept.rounds.looks:
        assert f"look {look.look}: calls {look.score_calls}  updates {look.updates}" in said.err
    for name, _, found in kept.checks:
        assert f"ok   {name}: {found}" in said.err


def test_a_score_that_stays_is_explained(zmax: Zmax) -> None:
    words = [*WORDS[:-1], "1e-12"]
    said = zmax("finetune", *words, "-n", "900", "--looks", "2", "--progress", "--out", "run")
    assert "the score has not risen: the weights moved by" in said.err
    assert "hint       By the last look the score has not risen: the weights moved by" in said.out


def test_it_stops_at_the_goal_and_resumes_with_more(zmax: Zmax) -> None:
    found = tuned(zmax, "--out", "run", "--until", "p05>=-99")
    assert found["stop_reason"] == "until"
    tuned(zmax, "--out", "more")
    said = zmax("resume", "more", "-n", "100", "--json")
    assert said.code == 0, said.err
    assert 200 < read(said.out)["ledger"]["score_calls"] <= 300


def test_a_failing_score_ends_with_three_and_goes_on(zmax: Zmax) -> None:
    Path("broken").touch()
    Path("calls").touch()
    words = ["-g", "toy.py:tunable", "-s", "toy.py:sick", "-m", "direct", "-n", "120"]
    said = zmax("finetune", *words, "--out", "run", "--json")
    assert said.code == 3, said.err
    assert "the oracle is down" in read(said.out)["error"]
    assert zmax("report", "run").code == 0
    Path("broken").unlink()
    assert zmax("resume", "run").code == 0


@pytest.mark.parametrize("words", [["--until", "p05"], ["--weights", "all"], ["--keep", "3"], ["-m", "snes"]])
def test_what_cannot_be_meant_ends_with_two(zmax: Zmax, words: list[str]) -> None:
    said = zmax("finetune", "-g", "toy.py:tunable", "-s", "toy.py:total", "-n", "60", *words)
    assert said.code == 2
    assert "expected" in said.err or "known" in said.err
    assert not Path("runs").exists()


def test_report_writes_page_and_samples_of_a_finetune(zmax: Zmax) -> None:
    tuned(zmax, "--out", "run")
    Path("run/report.html").unlink()
    said = zmax("report", "run")
    assert said.out == "page     run/report.html\nsamples  run/samples\n"
    assert Path("run/report.html").is_file()
    assert asdict(load_result("run").ledger)["score_calls"] <= 200


def test_tuners_are_listed_with_their_road(zmax: Zmax) -> None:
    rows = {row["name"]: row["road"] for row in json.loads(zmax("list", "methods", "--json").out)["methods"]}
    assert rows["direct"] == rows["ranked"] == "finetune"
    assert rows["snes"] == "search"
    line = next(line for line in zmax("list", "methods").out.splitlines() if line.strip().startswith("direct"))
    assert line.split()[1] == "finetune"
