from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from zmax.core import registry
from zmax.core.errors import InputError, UnknownNameError
from zmax.core.registry import Registry


def planets():
    table = Registry("planet", "zmax.planets")
    table.add("pi", "math:pi")
    table.add("e", "math:e")
    return table


def test_entries_are_imported_when_asked_for():
    assert planets().load("pi") == pytest.approx(3.14159265)
    assert list(planets()) == ["e", "pi"]


def test_installed_packages_add_entries(monkeypatch):
    def entry_points(group):
        return [EntryPoint("tau", "math:tau", group)] if group == "zmax.planets" else []

    monkeypatch.setattr(registry, "entry_points", entry_points)
    table = planets()
    assert table.load("tau") == pytest.approx(6.2831853)
    assert list(table) == ["e", "pi", "tau"]
    assert "tau" in table


def test_an_unknown_name_brings_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'pi'"):
        planets().load("pie")


def test_a_name_cannot_be_taken_twice():
    table = planets()
    table.add("pi", "math:pi")
    with pytest.raises(InputError, match="already registered"):
        table.add("pi", "math:e")


def test_a_name_that_is_taken_keeps_its_entry_with_a_warning(monkeypatch):
    class Package:
        name = "squatter"

    points = [EntryPoint("pi", "math:e", "zmax.planets")._for(Package()), EntryPoint("tau", "math:tau", "zmax.planets")]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    table = planets()
    with pytest.warns(UserWarning, match=r"squatter registers planet 'pi' as math:e; keeping math:pi"):
        assert table.load("tau") == pytest.approx(6.2831853)
    assert table.load("pi") == pytest.approx(3.14159265)
