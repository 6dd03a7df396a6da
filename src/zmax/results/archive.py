"""The archive of a quality-diversity run, as its journal holds it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch

from zmax.search.diversity.archive import Archive
from zmax.search.diversity.scattered import Scattered
from zmax.store import Journal


def archive_of(journal: Journal) -> tuple[Archive | Scattered, tuple[str, ...]] | None:
    """Return the archive in the method's last saved state and the names of its descriptors, None if it has none."""
    position = journal.last_checkpoint()
    if position is None:
        return None
    state: Any = torch.load(io.BytesIO(position.state), weights_only=True)
    while isinstance(state, Mapping) and "inner" in state:  # a guard around the method
        state = state["inner"]
    parts = state.get("archive") if isinstance(state, Mapping) else None
    for kind in (Archive, Scattered):
        if isinstance(parts, Mapping) and set(parts) == {f.name for f in fields(kind)}:
            archive: Archive | Scattered = kind(**parts)
            return (archive, tuple(state["names"])) if archive.opened else None
    return None
