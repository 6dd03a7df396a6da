"""The archive of a quality-diversity run, as its journal holds it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch

from zmax.search.diversity.archive import Archive
from zmax.store import Journal


def archive_of(journal: Journal) -> tuple[Archive, tuple[str, ...]] | None:
    """Return the archive in the method's last saved state and the names of its descriptors, None if it has none."""
    position = journal.last_checkpoint()
    if position is None:
        return None
    state: Any = torch.load(io.BytesIO(position.state), weights_only=True)
    while isinstance(state, Mapping) and "inner" in state:  # a guard around the method
        state = state["inner"]
    parts = state.get("archive") if isinstance(state, Mapping) else None
    if not isinstance(parts, Mapping) or set(parts) != {f.name for f in fields(Archive)}:
        return None
    archive = Archive(**parts)
    return (archive, tuple(state["names"])) if archive.opened else None
