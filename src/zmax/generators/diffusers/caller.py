"""Call copies of a pipeline of diffusers by its own code, with stand-ins for its parts."""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from zmax.core.errors import InputError
from zmax.generators.diffusers.call import Call
from zmax.generators.diffusers.standins import StandIn

Runner = Callable[[str, nn.Module], Callable[..., Any]]
"""(name, part) -> how that part is run."""

LOOKED_UP = ("_execution_device", "device")
"""Properties of a pipeline that go through all modules of all parts, and are asked for in every step."""

HOOKS = ("_hf_hook", "_diffusers_hook")
"""Marks of parts that are moved to a device when they run."""


class Caller:
    """A pipeline and what it is called with.

    Args:
        pipe: the pipeline; only shallow copies of it are called.
        call: its arguments.
    """

    def __init__(self, pipe: Any, call: Call) -> None:
        self.pipe, self.arguments, self.name = pipe, call, type(pipe).__name__
        self.scheduler, self._config = pipe.scheduler, dict(pipe.scheduler.config)
        self._where: list[Any] = []
        self._found: dict[str, Any] = {}
        self._parts = [name for name, part in pipe.components.items() if isinstance(part, nn.Module)]

    def __call__(self, rows: Sequence[int], run: Runner, scheduler: Any, *, idle: bool = False, **options: Any) -> Any:
        """Return what a copy of the pipeline makes, with the caller's choice of gradients.

        Args:
            rows: index of each sample's prompt.
            run: how its parts are run.
            scheduler: in place of its own.
            idle: whether no network computes.
            options: of :meth:`Call.arguments`.
        """
        view = copy.copy(self.pipe)
        kind: Any = type(view)
        view.__class__ = _with_places(kind)
        parts = {name: part for name in self._parts if isinstance(part := getattr(view, name), nn.Module)}
        vars(view).update(self._places(list(parts.values())))
        vars(view).update({name: StandIn(part, run(name, part)) for name, part in parts.items()})
        vars(view).update(scheduler=scheduler, _progress_bar_config={"disable": True})
        if idle:
            vars(view)["maybe_free_model_hooks"] = _nothing
        if hasattr(view, "encode_prompt"):
            encoders = [part for part in parts.values() if not hasattr(part, "save_config")]
            vars(view)["encode_prompt"] = functools.partial(self.arguments.encode, view, encoders)
        call: Callable[..., Any] = inspect.unwrap(type(view).__call__)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"You have passed \d+ text prompts", FutureWarning)  # it repeats images
            made = call(view, **self.arguments.made(rows, **options))
        return made[0] if isinstance(made, tuple) else made

    def check(self, networks: Mapping[str, nn.Module]) -> None:
        """Raise InputError if the pipeline's scheduler or networks are no longer those that were looked at."""
        changed = [name for name, network in networks.items() if getattr(self.pipe, name) is not network]
        if self.pipe.scheduler is not self.scheduler or dict(self.scheduler.config) != self._config:
            changed.append("scheduler")
        if changed:
            what = f"the pipeline {self.name!r}, whose {', '.join(changed)} changed after it was wrapped"
            raise InputError(what, expected="as it was", remedy="wrap it again: from_diffusers(pipe, ...)")

    def _places(self, parts: list[nn.Module]) -> dict[str, Any]:
        """Return the pipeline's devices, looked up anew where its parts have moved."""
        first = [next((weight.device for weight in part.parameters()), None) for part in parts]
        where = [first, [[id(part), *map(vars(part).get, HOOKS)] for part in parts]]
        if where != self._where:
            bare = copy.copy(self.pipe)
            self._where, self._found = (
                where,
                {name: getattr(bare, name) for name in LOOKED_UP if hasattr(type(bare), name)},
            )
        return self._found

    def on(self, pipe: Any) -> Caller:
        """Return the same calls of another pipeline."""
        made = copy.copy(self)
        made.pipe = pipe
        return made


@functools.cache
def _with_places(kind: Any) -> type:
    """Return a pipeline's class whose devices are values, in place of properties."""
    places = {name: None for name in LOOKED_UP if hasattr(kind, name)}
    return type(kind.__name__, (kind,), {**places, "__module__": kind.__module__})


def _nothing() -> None:
    """Leave hooks for offloading as they are while stand-ins are in the pipeline."""
