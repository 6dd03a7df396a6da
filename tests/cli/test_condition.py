"""`zmax condition`, and `--ask` on the verbs that take its generator."""

from __future__ import annotations

import json
import shlex
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import zmax as library
from tests.cli.conftest import Zmax
from tests.cli.test_maximize import read
from zmax.core.rng import stream
from zmax.results import ConditionResult, load_result

WORDS = ["-g", "toy.py:flow", "-s", "toy.py:first", "-n", "150", "-p", "steps=50", "-p", "batch=8", "--fresh", "8"]
WORDS += ["--looks", "1", "--guidances", "0"]


def conditioned(zmax: Zmax, *more: str) -> Any:
    said = zmax("condition", *WORDS, "--out", "run", "--json", *more)
    assert said.code == 0, said.err
    return read(said.out)


def kept() -> ConditionResult:
    found = load_result("run")
    assert isinstance(found, ConditionResult)
    return found


def test_json_is_the_summary_of_the_kept_run_and_its_command_repeats_it(zmax: Zmax) -> None:
    found = conditioned(zmax, "--seed", "3")
    assert found == json.loads(json.dumps(kept().summary()), parse_constant=lambda token: None)
    assert found["calibrations"][0]["score"] == "first"
    second = read(zmax(*shlex.split(found["command"])[1:], "--json", "--out", "again").out)
    assert second["command"] == found["command"]
    assert second["calibrations"] == found["calibrations"]


def test_several_scores_are_given_one_by_one(zmax: Zmax) -> None:
    found = conditioned(zmax, "-s", "toy.py:total")
    assert [row["score"] for row in found["calibrations"]] == ["first", "total"]
    assert "-s toy.py:first -s toy.py:total" in found["command"]
    said = zmax("resume", "run", "--json")
    assert said.code == 0, said.err
    assert read(said.out)["calibrations"] == found["calibrations"]


def test_the_table_says_how_near_and_how_to_ask(zmax: Zmax) -> None:
    said = zmax("condition", *WORDS, "--out", "run", "--progress")
    one = kept().calibration
    row = next(line.split() for line in said.out.splitlines() if line.strip().startswith("first "))
    assert row[:4] == ["first", "0", f"{one.label_score:.3g}", f"{one.rho:.3g}"]
    for line in (
        "verdict    What comes is",
        "ask it     zmax sample -g conditioned:run --ask S",
        "repeat     zmax cond",
    ):
        assert line in said.out
    assert "scoring" in said.err
    assert "to compare with what comes" in said.err


def test_samples_are_drawn_as_asked_and_scored_by_the_runs_own_score(zmax: Zmax) -> None:
    conditioned(zmax)
    words = ("sample", "-g", "conditioned:run", "--ask", "-0.25", "-n", "5", "--seed", "2", "--out", "drawn")
    said = zmax(*words, "--json")
    assert said.code == 0, said.err
    row = read(said.out)["scores"][0]
    run, one = kept(), kept().calibration
    if run.outside(-0.25):
        assert "is outside the range to trust" in said.err
    held = run.generator.at(-0.25)
    x = held.decode(held.space.latents(held.space.sample(5, stream(2, "asked"))))
    assert isinstance(x, torch.Tensor)
    assert row["achieved"] == pytest.approx(x[:, 0].tolist(), rel=1e-4)
    assert row["asked"] == -0.25
    assert [row["expected"], row["from"], row["to"]] == pytest.approx([one.mean(-0.25), *one.interval(-0.25)])
    assert Path("drawn/samples.txt").read_text().count("# ") == 5
    table = zmax(*words).out
    assert "conditioned:run?score=-0.25" in table
    assert "5 score calls" in table


def test_a_request_outside_the_range_is_warned_of(zmax: Zmax) -> None:
    conditioned(zmax)
    said = zmax("sample", "-g", "conditioned:run", "--ask", "999", "-n", "2", "--out", "drawn")
    assert said.code == 0, said.err
    assert "warning: first = 999 is outside the range to trust" in said.err
    assert "standard deviations above every score in the data" in said.err


def test_the_best_of_candidates_are_kept_and_only_they_are_scored(zmax: Zmax) -> None:
    conditioned(zmax)
    words = ("sample", "-g", "conditioned:run", "--ask", "9", "-n", "3", "--seed", "2")
    said = zmax(*words, "--of", "4", "--out", "drawn", "--json")
    assert said.code == 0, said.err
    found, run = read(said.out), kept()
    assert found["outside"] == run.outside(9.0, 4)
    assert "the best of 4 candidates each are kept" in said.err
    assert found["ledger"]["score_calls"] == 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = run.sample(3, score=9.0, of=4, seed=2)
    assert isinstance(x, torch.Tensor)
    assert found["scores"][0]["achieved"] == pytest.approx(x[:, 0].tolist(), rel=1e-4)
    refused = zmax(*words, "--of", "4", "-s", "toy.py:total")
    assert refused.code == 2
    assert "without -s" in refused.err


def test_other_verbs_search_the_latents_of_the_generator_held_there(zmax: Zmax) -> None:
    conditioned(zmax)
    words = ("-g", "conditioned:run", "-s", "toy.py:total", "--ask", "0.5", "--guidance", "1", "-n", "30", "--json")
    for verb in ("maximize", "sample"):
        said = zmax(verb, *words, "--out", verb)
        assert said.code == 0, said.err
        found = read(said.out)
        assert found["generator"] == "conditioned:run?score=0.5&guidance=1.0"
        held = library.load_generator(found["generator"])
        best = load_result(verb).leaders[0]  # type: ignore[union-attr]
        z = {name: part[None] for name, part in best.z.items()} if isinstance(best.z, dict) else best.z[None]
        torch.testing.assert_close(held.decode(z)[0], best.sample)  # type: ignore[arg-type]
    again = zmax("resume", "maximize", "-n", "20", "--json")
    assert again.code == 0, again.err


def test_the_whole_generator_has_the_score_as_one_more_latent(zmax: Zmax) -> None:
    conditioned(zmax)
    G = library.load_generator("conditioned:run")
    assert [block.name for block in G.space.blocks] == ["noise", "score"]
    said = zmax("maximize", "-g", "conditioned:run", "-s", "toy.py:total", "-m", "random", "-n", "40", "--json")
    assert said.code == 0, said.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("sample", "-g", "toy.py:G"), "a score, -s S; or a request"),
        (("sample", "-g", "toy.py:G", "--ask", "1"), "-g conditioned:RUN"),
        (("maximize", "-g", "conditioned:run", "-s", "toy.py:near", "--ask", "high"), "a number, or NAME=NUMBER"),
        (("sample", "-g", "conditioned:nowhere", "--ask", "1"), "no run in"),
        (("sample", "-g", "conditioned:run", "--ask", "second=1"), "first"),
    ],
)
def test_bad_requests_are_refused(zmax: Zmax, words: tuple[str, ...], told: str) -> None:
    conditioned(zmax)
    said = zmax(*words)
    assert said.code == 2
    assert told in said.err


def test_a_folder_of_data_is_learned_from(zmax: Zmax) -> None:
    from PIL import Image

    Path("pictures").mkdir()
    for i in range(12):
        Image.new("L", (8, 8), 20 * i).save(f"pictures/{i}.png")
    lines = [f"{i}.png,{i / 12}" for i in range(12)]
    Path("pictures/scores.csv").write_text("\n".join(["file,brightness", *lines]))
    words = ["-g", "scratch:3,8,8", "-s", "brightness", "--data", "pictures", "-n", "100", *WORDS[6:]]
    said = zmax("condition", *words, "--out", "run", "--json")
    assert said.code == 0, said.err
    assert "--data pictures" in read(said.out)["command"]
    assert kept().learned == 12


def test_the_road_is_listed(zmax: Zmax) -> None:
    rows = json.loads(zmax("list", "--json").out)
    assert {row["name"]: row["road"] for row in rows["methods"]}["flow"] == "condition"
    assert {"conditioned", "scratch"} <= {row["name"] for row in rows["generators"]}
