"""The question of a run as data: what goes in comes back, and the shell command says all that is not a default."""

from __future__ import annotations

import json
import shlex

import pytest

import zmax
from zmax.results import RunSpec

PLAIN = RunSpec("avatars-gan", "brightness", "cma", zmax.Budget(score_calls=500))
START = "zmax maximize -g avatars-gan -s brightness -m cma -n 500 --seed 0 --batch-size 32"


def said(**settings) -> str | None:
    return RunSpec("avatars-gan", "brightness", "cma", **{"budget": PLAIN.budget, **settings}).command()


def test_the_defaults_are_not_said():
    assert PLAIN.command() == START


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"held_out": "sharp"}, "--held-out sharp"),
        ({"guard": "penalise"}, "--guard penalise"),
        ({"held_out": "sharp", "patience": 3}, "--held-out sharp --patience 3"),
        ({"device": "cuda"}, "--device cuda"),
        ({"keep": 4}, "--keep 4"),
        ({"max_failures": 0.25}, "--max-failures 0.25"),
    ],
)
def test_each_setting_is_said_where_it_is_no_default(settings, words):
    assert said(**settings) == f"{START} {words}"


def test_the_values_that_a_command_leaves_out_are_these():
    assert (PLAIN.seed, PLAIN.batch_size, PLAIN.keep, PLAIN.max_failures) == (0, 32, 16, 0.5)
    assert (PLAIN.guard, PLAIN.patience, PLAIN.device, PLAIN.verb) == ("retract", None, "cpu", "maximize")


def test_every_limit_of_a_budget_has_its_flag():
    budget = zmax.Budget(nfe=7, score_grads=8, seconds=1.5)
    assert " -m cma --nfe 7 --score-grads 8 --seconds 1.5 --seed 0 " in str(said(budget=budget))


def test_the_temperature_is_an_option_of_sample_and_a_parameter_elsewhere():
    params = {"temperature": 0.5, "chains": 4}
    assert " -m cma --temperature 0.5 -p chains=4 -n 500 " in str(said(verb="sample", params=params))
    assert " -m cma -p temperature=0.5 -p chains=4 -n 500 " in str(said(params=params))


def test_words_are_quoted_for_the_shell():
    spec = RunSpec("a folder/g.py:G", "0.7*a + b", "random", zmax.Budget(score_calls=5))
    assert shlex.split(str(spec.command()))[2:8] == ["-g", "a folder/g.py:G", "-s", "0.7*a + b", "-m", "random"]


def test_what_lives_in_a_program_has_no_command():
    assert said(objects=("score",)) is None


def test_it_comes_back_from_json():
    spec = RunSpec(
        "g", "s", "m", zmax.Budget(nfe=3), seed=4, params={"a": 1}, objects=("score",), held_out="h", patience=2
    )
    assert RunSpec.from_json(json.loads(json.dumps(spec.as_json()))) == spec
