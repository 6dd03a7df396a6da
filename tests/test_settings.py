"""A setting means the same wherever it is given or shown: Python, command line, record and page."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, get_type_hints

import pytest
import typer

import zmax
from zmax import run as run_verbs
from zmax.cli import app
from zmax.core.budget import DEFAULT_CALLS, Budget
from zmax.core.errors import InputError
from zmax.core.setting import described, flags
from zmax.core.settings import AND, Common, ConditionSettings, Settings, TuneSettings
from zmax.report.sentences import python_line, setting_rows
from zmax.results import ConditionSpec, RunSpec, TuneSpec

VERBS: dict[str, Callable[..., Any]] = {
    "maximize": zmax.maximize,
    "sample": zmax.sample,
    "finetune": run_verbs.finetune,
    "condition": run_verbs.condition,
}
COMMON: dict[str, Any] = {
    "seed": 7,
    "batch_size": 5,
    "held_out": "contrast",
    "device": "meta",
    "max_failures": 0.125,
    "workers": 2,
}
SEARCHING: dict[str, Any] = {**COMMON, "guard": "report", "start": "runs/a", "strength": 0.25, "patience": 3, "keep": 4}
TUNING: dict[str, Any] = {
    **COMMON,
    "until": "p05 >= 2",
    "ceiling": 2.5,
    "weights": "lora:4",
    "layers": "attn,mlp",
    "rate": 0.002,
    "updates": 3,
    "precision": "bfloat16",
    "looks": 5,
    "fresh": 24,
    "keep": "last",
}
CONDITIONING: dict[str, Any] = {
    **COMMON,
    "rate": 0.002,
    "precision": "bfloat16",
    "looks": 5,
    "fresh": 24,
    "data": "my/pictures",
    "draws": 60,
    "checked": 20,
    "guidances": "0,1.5",
}
"""A value of each setting that is not its default."""

KINDS: dict[str, type[Common]] = {
    "maximize": Settings,
    "sample": Settings,
    "finetune": TuneSettings,
    "condition": ConditionSettings,
}
SPECS = {"maximize": RunSpec, "sample": RunSpec, "finetune": TuneSpec, "condition": ConditionSpec}
OTHERS = {"maximize": SEARCHING, "sample": SEARCHING, "finetune": TUNING, "condition": CONDITIONING}
OBJECTS = {"held_out", "data", "start"}
"""What is text on the command line, and anything in Python."""

LIMITS = {"score_calls": 90, "nfe": 5000, "score_grads": 80, "seconds": 300.5}
COMMAND: Any = typer.main.get_command(app)


def settings_of(verb: str, *, python: bool) -> set[str]:
    return {name for name, s in described(KINDS[verb]).items() if verb in s.verbs and (s.python or not python)}


def spec_of(verb: str, **settings: Any) -> RunSpec | TuneSpec | ConditionSpec:
    params = {"temperature": 0.5} if verb == "sample" else {"step": 0.2}
    return SPECS[verb]("my.py:G", "my.py:S", "snes", Budget(**LIMITS), params=params, verb=verb, **settings)


def said_by(command: str) -> dict[str, Any]:
    """Read a command line as the program would, without running it."""
    _, verb, *words = shlex.split(command)
    found: dict[str, Any] = COMMAND.commands[verb].make_context(verb, words).params
    return found


def test_every_field_is_described_and_tried_here() -> None:
    assert {f.name for f in fields(Settings)} == set(described(Settings)) == set(SEARCHING)
    assert {f.name for f in fields(TuneSettings)} == set(described(TuneSettings)) == set(TUNING)
    assert {f.name for f in fields(ConditionSettings)} == set(described(ConditionSettings)) == set(CONDITIONING)
    assert {f.name for f in fields(Budget)} == set(described(Budget)) == set(LIMITS)


@pytest.mark.parametrize("verb", VERBS)
def test_the_verbs_in_python_take_the_settings_with_their_types_and_defaults(verb: str) -> None:
    signature = inspect.signature(inspect.unwrap(VERBS[verb])).parameters
    kind, taken = KINDS[verb], settings_of(verb, python=True)
    assert set(signature) & set(OTHERS[verb]) == taken
    assert {n: signature[n].default for n in taken} == {n: getattr(kind, n) for n in taken}
    hints, known = get_type_hints(VERBS[verb]), get_type_hints(kind)
    assert {n: hints[n] for n in taken - OBJECTS} == {n: known[n] for n in taken - OBJECTS}
    assert signature["budget"].default == DEFAULT_CALLS


@pytest.mark.parametrize("verb", ["maximize", "finetune", "condition"])
def test_the_verb_documents_each_setting_in_its_own_words(verb: str) -> None:
    told = arguments(VERBS[verb])
    for name in settings_of(verb, python=True) - {"data"}:
        meaning = described(KINDS[verb])[name].help
        assert f"{name}: {meaning[0].lower()}{meaning[1:]}" in told


def test_sample_documents_each_setting_or_refers_to_maximize() -> None:
    assert settings_of("sample", python=True) <= set(re.findall(r"\w+", arguments(zmax.sample)))


def arguments(function: Callable[..., Any]) -> str:
    """Return the part of a docstring that explains arguments, in one line."""
    text = inspect.getdoc(function) or ""
    return " ".join(text.partition("Args:")[2].partition("Returns:")[0].split())


@pytest.mark.parametrize("verb", VERBS)
def test_the_command_line_has_each_setting_as_an_option(verb: str) -> None:
    options = {p.name: p for p in COMMAND.commands[verb].params}
    for kind in (KINDS[verb], Budget):
        for name, s in described(kind).items():
            assert (name in options) == (verb in s.verbs)
            if verb in s.verbs:
                assert (options[name].help, options[name].metavar) == (s.help, s.metavar)
                assert options[name].default == getattr(kind, name)
                assert set(options[name].opts) == set(flags(name, s))


def fits(verb: str, name: str, value: object) -> bool:
    """Say whether a value is of that verb; `keep` is a number for those that search and a word for the other."""
    return OTHERS[verb][name] == value


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "changed",
    [
        {},
        *({name: value} for kind in (SEARCHING, TUNING, CONDITIONING) for name, value in kind.items()),
        SEARCHING,
        TUNING,
        CONDITIONING,
    ],
)
def test_the_written_command_asks_for_the_same_settings(verb: str, changed: dict[str, Any]) -> None:
    changed = {n: v for n, v in changed.items() if n in settings_of(verb, python=False) and fits(verb, n, v)}
    spec = spec_of(verb, **changed)
    said = said_by(spec.command() or "")
    known = settings_of(verb, python=False)
    assert {n: said[n] for n in known} == {n: getattr(spec, n) for n in known}
    assert {n: said[n] for n in LIMITS} == LIMITS
    score: Any = ["my.py:S"] if verb in ("maximize", "condition") else "my.py:S"
    assert (said["generator"], said["score"], said["method"]) == ("my.py:G", score, "snes")
    assert said.get("temperature") == (0.5 if verb == "sample" else None)


def test_a_written_command_holds_what_is_not_the_default_and_what_changes_every_number() -> None:
    start = "zmax maximize -g my.py:G -s my.py:S -m snes -p step=0.2 -n 90 --nfe 5000 --score-grads 80 --seconds 300.5"
    assert spec_of("maximize").command() == f"{start} --seed 0 --batch-size 32"
    common = "--seed 7 --batch-size 5 --held-out contrast --device meta --max-failures 0.125 --workers 2"
    words = "--guard report --start runs/a --strength 0.25 --patience 3 --keep 4"
    assert spec_of("maximize", **SEARCHING).command() == f"{start} {common} {words}"
    trained = "--rate 0.002 --precision bfloat16 --fresh 24"
    words = "--until 'p05 >= 2' --ceiling 2.5 --weights lora:4 --layers attn,mlp --updates 3 --looks 5 --keep last"
    start = start.replace("maximize", "finetune")
    assert spec_of("finetune", **TUNING).command() == f"{start} {common} {trained} {words}"
    words = "--data my/pictures --draws 60 --checked 20 --guidances 0,1.5 --looks 5"
    start = start.replace("finetune", "condition")
    assert spec_of("condition", **CONDITIONING).command() == f"{start} {common} {trained} {words}"


def test_several_scores_are_written_one_by_one() -> None:
    command = replace(spec_of("condition"), score=f"my.py:S{AND}brightness").command() or ""
    assert "-s my.py:S -s brightness" in command
    assert said_by(command)["score"] == ["my.py:S", "brightness"]


@pytest.mark.parametrize("verb", VERBS)
def test_the_line_of_python_asks_for_the_same_settings(verb: str) -> None:
    other = OTHERS[verb]
    changed = {n: other[n] for n in settings_of(verb, python=False)}
    asked = Recorder()
    eval(python_line(spec_of(verb, **changed)), {"zmax": asked, "G": "G", "S": "S", "H": "contrast"})
    taken = settings_of(verb, python=True)
    assert {n: v for n, v in asked.given.items() if n in other} == {n: other[n] for n in taken}
    assert asked.given["budget"] == Budget(**LIMITS)


class Recorder:
    """Stands for the package, and keeps what a verb is asked."""

    Budget = Budget
    given: dict[str, Any]

    def maximize(self, G: str, S: str, **given: Any) -> None:
        self.given = given

    sample = finetune = condition = maximize


@pytest.mark.parametrize("verb", VERBS)
def test_the_page_shows_each_setting_with_its_meaning(verb: str) -> None:
    known, other = settings_of(verb, python=False), OTHERS[verb]
    spec = spec_of(verb, **{n: other[n] for n in known})
    rows = {(row.value, row.meaning) for row in setting_rows(spec)}
    assert {(str(other[n]), described(KINDS[verb])[n].help) for n in known} <= rows
    assert len(setting_rows(spec)) == 5 + len(known)


def test_the_page_says_of_what_is_not_set_that_there_is_none() -> None:
    rows = {row.title: row.value for row in setting_rows(spec_of("maximize"))}
    assert (rows["Held out"], rows["Patience"], rows["Seed"]) == ("none", "none", "0")


BAD_TUNING = [
    *(("until", bad, "a quantile and a score, as in 'p05 >= 2'") for bad in ("p05", "2", "p05 > 2", "p105 >= 2")),
    *(("weights", bad, "auto, full, lora or lora:RANK") for bad in ("all", "lora:x")),
    *(("rate", bad, "a positive number") for bad in (0, -1.0, float("inf"))),
    *((name, bad, "a positive int") for name in ("updates", "looks", "fresh") for bad in (0, 1.5)),
    ("precision", "half", "float32 or bfloat16"),
    ("keep", 4, "chosen or last"),
]
BAD_CONDITIONING = [
    *(("guidances", bad, "numbers separated by commas") for bad in ("", "a", "0;1")),
    *((name, bad, "a positive int") for name in ("draws", "checked", "looks", "fresh") for bad in (0, 1.5)),
]
BAD = [
    *(("seed", bad, "an int") for bad in (1.5, True, "1", None)),
    *(("batch_size", bad, "a positive int") for bad in (0, -1, 2.0, True)),
    *(("keep", bad, "a positive int") for bad in (0, "4", None)),
    *(("patience", bad, "a positive int") for bad in (0, 0.5)),
    *(("max_failures", bad, r"a share in \[0, 1\]") for bad in (-0.1, 1.1, float("nan"), "half")),
    *(("guard", bad, "retract, penalise, natural, report") for bad in ("Retract", "", None)),
    *(("strength", bad, r"a share in \(0, 1\]") for bad in (0, 1.5, True, "half")),
]


REFUSED = [(Settings, *case) for case in BAD]
REFUSED += [(TuneSettings, *case) for case in BAD_TUNING]
REFUSED += [(ConditionSettings, *case) for case in BAD_CONDITIONING]


@pytest.mark.parametrize(("kind", "name", "bad", "expected"), REFUSED)
def test_what_cannot_be_meant_is_refused_by_name(kind: type, name: str, bad: object, expected: str) -> None:
    with pytest.raises(InputError, match=rf"^{name}\n  expected: {expected}\n  got:      {re.escape(repr(bad))}"):
        unchecked(kind, **{name: bad})


@pytest.mark.parametrize(
    ("name", "good"), [("seed", -3), ("batch_size", 1), ("keep", 1), ("max_failures", 0), ("max_failures", 1)]
)
def test_the_ends_of_what_can_be_meant_are_allowed(name: str, good: object) -> None:
    assert getattr(Settings(**{name: good}), name) == good  # type: ignore[arg-type]


def unchecked(kind: type, **settings: Any) -> None:
    """Make settings without the run-time type check."""
    inspect.unwrap(kind.__init__)(kind.__new__(kind), **settings)  # type: ignore[misc]


@pytest.mark.parametrize("verb", VERBS)
def test_a_record_is_flat_and_reads_back(verb: str) -> None:
    other = {n: OTHERS[verb][n] for n in settings_of(verb, python=False)}
    spec = spec_of(verb, **other)
    data = spec.as_json()
    assert {n: data[n] for n in other} == other
    assert type(spec).from_json(data) == spec
    assert replace(spec, seed=5) == type(spec).from_json({**data, "seed": 5})


def test_a_record_of_the_first_release_is_read() -> None:
    budget = {"score_calls": 60, "nfe": None, "score_grads": None, "seconds": None}
    named = {"generator": "avatars-gan", "score": "brightness", "method": "snes", "held_out": "brightness"}
    settings = {"seed": 0, "batch_size": 32, "keep": 4, "max_failures": 0.25, "guard": "retract", "patience": 3}
    more = {"params": {}, "objects": [], "modality": "image", "unit": "", "held_out_unit": "", "reason": ""}
    spec = RunSpec.from_json({**named, **settings, **more, "budget": budget, "verb": "maximize", "device": "cpu"})
    assert spec.command() == (
        "zmax maximize -g avatars-gan -s brightness -m snes -n 60 --seed 0 --batch-size 32 --held-out brightness "
        "--max-failures 0.25 --patience 3 --keep 4"
    )
