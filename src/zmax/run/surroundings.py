"""What a run finds around it, sets as it needs it, and leaves as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from zmax.core.defaults import ours
from zmax.core.generator import Generator
from zmax.core.networks import set_mode
from zmax.core.score import Score


@contextmanager
def at_work(*parts: Generator | Score | None) -> Iterator[None]:
    """While open, networks of G and of the scores are in evaluation mode, and torch's defaults are ours."""
    networks = [network for part in parts if part is not None for network in part.networks]
    before = [(module, module.training) for network in networks for module in network.modules()]
    modes = [(network, network.training) for network in networks]
    for network in networks:
        set_mode(network, False)
    try:
        with ours():
            yield
    finally:
        for network, mode in modes:
            set_mode(network, mode)
        for module, mode in before:
            module.training = mode
