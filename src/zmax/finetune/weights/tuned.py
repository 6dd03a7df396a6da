"""Finetuned and conditioned generators from their files."""

from __future__ import annotations

from pathlib import Path

from zmax.core.errors import InputError
from zmax.core.generator import Generator
from zmax.finetune.weights.child import Child
from zmax.finetune.weights.files import read, restored
from zmax.generators import load_generator
from zmax.generators.conditioned import Conditioned
from zmax.generators.requests import asked_in

FILE = "child.safetensors"
"""What a run's folder calls the weights of its child."""


def load_tuned(where: str = "") -> Generator:
    """Load the child of a finetune: its parent by name, with the weights that moved.

    Args:
        where: the run's folder, or the file of weights in it.

    Raises:
        InputError: no child is there, or its parent lived only in a program.
        StoreError: the file was changed.
    """
    place = Path(where)
    if not where or not place.exists():
        raise InputError(f"no finetuned generator in {where!r}", expected=f"a folder with {FILE}, or such a file")
    return child_in(place / FILE if place.is_dir() else place).generator


def load_conditioned(where: str = "") -> Generator:
    """Load the generator of a condition, which is told a score; with a query it is held at that request.

    Args:
        where: the run's folder, or the file of weights in it, perhaps with what is asked for:
            "runs/x?score=-0.19&guidance=2".

    Raises:
        InputError: no such generator is there, its parent lived only in a program, or the request does not fit.
        StoreError: the file was changed.
    """
    place, _, query = where.partition("?")
    made = load_tuned(place)
    if not isinstance(made, Conditioned):
        raise InputError(f"{place!r} is not told a score", expected="the run of a condition", remedy=f"tuned:{place}")
    return made.at(**asked_in(query)) if query else made


def child_in(source: bytes | Path) -> Child:
    """Return the child that a file of weights holds."""
    tensors, card = read(source)
    return restored(load_generator(card["parent"]), tensors, card)
