"""Finetuned generators from their files."""

from __future__ import annotations

from pathlib import Path

from zmax.core.errors import InputError
from zmax.core.generator import Generator
from zmax.finetune.weights.child import Child
from zmax.finetune.weights.files import read, restored
from zmax.generators import load_generator

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


def child_in(source: bytes | Path) -> Child:
    """Return the child that a file of weights holds."""
    tensors, card = read(source)
    return restored(load_generator(card["parent"]), tensors, card)
