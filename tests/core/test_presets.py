"""A preset is its parent with other arguments: the same scores, its own signature, a whole docstring."""

from __future__ import annotations

import inspect
import re

import pytest
import torch

import zmax
from zmax.core.errors import InputError
from zmax.core.methods import registry
from zmax.core.presets import preset
from zmax.guide import DAS, DPS, LGDMC, MPGD, TDS, TFG, UGD, FreeDoM, Polish, Relay
from zmax.run.resolve import build, parameters
from zmax.search import DDLS, DNOHybrid, Langevin, Random, Zeroth

GUIDED = {"temperature": None, "strength": None, "clip": 1.0, "rows": 16}
PRESETS = {
    "dps": (DPS, TFG, {}, GUIDED),
    "mpgd": (MPGD, TFG, {"mu": 1.0}, GUIDED | {"iterations": 1}),
    "freedom": (FreeDoM, TFG, {"recurrence": 2}, GUIDED | {"recurrence": 2}),
    "ugd": (UGD, TFG, {"mu": 0.5, "recurrence": 2}, GUIDED | {"mu": 0.5, "iterations": 1, "recurrence": 2}),
    "lgdmc": (LGDMC, TFG, {"smooth": 4}, GUIDED | {"smooth": 4}),
    "das": (
        DAS,
        TDS,
        {"tempering": 2.0},
        {
            "temperature": None,
            "particles": 16,
            "tempering": 2.0,
            "clip": 1.0,
            "threshold": 0.5,
            "resampling": "systematic",
        },
    ),
    "polish": (
        Polish,
        Relay,
        {"first": 16, "lineages": 4, "polish_after": 1},
        {"first": 16, "lineages": 4, "rows": 16, "keep": 4, "tournament": 2, "polish_after": 1},
    ),
    "ddls": (
        DDLS,
        Langevin,
        {"temperature": 1.0, "chains": 64, "step": 0.1, "spread": 16.0},
        {"temperature": 1.0, "chains": 64, "step": 0.1, "acceptance": 0.57, "adjust": True, "spread": 16.0},
    ),
    "dno-hybrid": (
        DNOHybrid,
        Zeroth,
        {"pairs": 64, "directions": "gaussian"},
        {"step": 0.5, "batch": 1, "pairs": 64, "sigma": 0.05, "directions": "gaussian", "patience": 5},
    ),
}

each = pytest.mark.parametrize(("kind", "parent", "values", "shown"), PRESETS.values(), ids=PRESETS)


@each
def test_a_preset_scores_as_its_parent_with_the_same_arguments(kind, parent, values, shown):
    law = zmax.testing.gaussian_mixture([[-1.5, 0.0], [1.5, 0.5]], [(0.2 * torch.eye(2)).tolist()] * 2, [0.5, 0.5])
    G = law.generator(steps=5, eta=1.0).stochastic()
    S = zmax.testing.quadratic_score([[1.0, 0.0], [0.0, 0.5]], [0.8, -0.4])
    limits = zmax.Budget(score_calls=300, nfe=200)
    mine, theirs = (zmax.maximize(G, S, method, limits, seed=3).history.score for method in (kind(), parent(**values)))
    assert mine.tobytes() == theirs.tobytes()
    plain = zmax.maximize(G, S, parent(), limits, seed=3).history.score
    assert (mine.tobytes() == plain.tobytes()) == (not values)


@each
def test_it_shows_its_arguments_alone_with_its_own_defaults(kind, parent, values, shown):
    arguments = inspect.signature(kind).parameters
    assert {name: a.default for name, a in arguments.items()} == shown
    theirs = inspect.signature(parent).parameters
    assert list(arguments) == [name for name in theirs if name in shown], "in the parent's order"
    for name, argument in arguments.items():
        assert (argument.kind, argument.annotation) == (theirs[name].kind, theirs[name].annotation)
    assert issubclass(kind, parent)
    assert parameters(kind()) == {}


@each
def test_arguments_that_are_hidden_or_unknown_are_refused_by_name(kind, parent, values, shown):
    for name in {*inspect.signature(parent).parameters, "nonsense"} - shown.keys():
        with pytest.raises(TypeError, match=rf"{kind.__name__}\(\) has no argument '{name}'; it has \w+, "):
            kind(**{name: 1})
        with pytest.raises(InputError, match=f"has no parameter '{name}'"):
            build(kind, "it", {name: "1"})


@pytest.mark.parametrize("name", list(registry))
def test_the_docstring_of_a_method_names_every_argument_and_no_other(name):
    kind = registry.load(name)
    text = inspect.getdoc(kind)
    heads = re.findall(r"^(\w+):$", text, re.MULTILINE)
    assert heads == ["Args", "Raises", "Example"]
    entries = re.search(r"^Args:\n(.*?)^Raises:", text, re.MULTILINE | re.DOTALL)[1]
    described = [n for names in re.findall(r"^    (\w[\w, ]*): \S", entries, re.MULTILINE) for n in names.split(", ")]
    assert sorted(described) == sorted(inspect.signature(kind).parameters)


@each
def test_its_words_are_its_own(kind, parent, values, shown):
    assert kind.__doc__.splitlines()[0] != parent.__doc__.splitlines()[0]
    assert kind.use != parent.use
    for name, value in values.items():
        assert f"`{name}={value!r}`" in kind.__doc__, "what differs from the parent is said"


def test_an_argument_that_the_parent_lacks_is_refused_when_the_preset_is_made():
    for words, values in ((("batches",), {}), ((), {"batches": 3})):
        with pytest.raises(InputError, match=r"preset Many\n.*expected: batch.*\n.*got: .*batches"):

            @preset(*words, **values)
            class Many(Random):
                """Many."""


def test_a_preset_of_a_preset_and_a_class_derived_from_one():
    @preset("rows", rows=4)
    class Few(MPGD):
        """Few rows of it."""

    class Own(Few):
        """With a constructor of its own."""

        def __init__(self, *, size: int = 2) -> None:
            super().__init__(rows=size)
            self.size = size

    assert (Few().mu, Few().rows) == (1.0, 4)
    assert list(inspect.signature(Own).parameters) == ["size"]
    assert Own(size=3).rows == 3
