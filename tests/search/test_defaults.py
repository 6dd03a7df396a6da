"""The defaults of every method are part of what its users rely on: they change on purpose, with this table, or not."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

from zmax.core.methods import registry

TABLE = Path(__file__).parent / "defaults.json"
KNOWN = json.loads(TABLE.read_text())


def defaults(name):
    """Return the arguments of a method's constructor that have a default, as JSON would give them back."""
    parameters = inspect.signature(registry.load(name)).parameters.values()
    return json.loads(json.dumps({p.name: p.default for p in parameters if p.default is not p.empty}))


@pytest.mark.parametrize("name", sorted(registry))
def test_defaults_change_on_purpose_only(name):
    """After a measured change: write what `defaults` returns into the table, and say why in the changelog."""
    assert defaults(name) == KNOWN[name]
    required = any(p.default is p.empty for p in inspect.signature(registry.load(name)).parameters.values())
    if not required:
        made = registry.load(name)()
        assert all(getattr(made, key, value) == value for key, value in KNOWN[name].items())


def test_every_method_stands_in_the_table():
    assert set(KNOWN) == set(registry)
