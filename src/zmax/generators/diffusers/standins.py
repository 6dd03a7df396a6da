"""Stand-ins for the parts of a diffusers pipeline: nothing is intercepted inside them, and some do not compute."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

ENTRIES = ("forward", "encode", "decode")
"""Methods by which a pipeline runs its parts, beside calling them."""


class StandIn:
    """Takes a part's place in a pipeline: everything comes from the real one, its class too, but for how it is run.

    Args:
        real: the part.
        run: (function, *args, **kwargs) -> what running it gives; the function is the part or one of its methods.
    """

    def __init__(self, real: Any, run: Callable[..., Any]) -> None:
        self.__dict__.update(_real=real, _run=run)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._real)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.__dict__["_real"], name)
        if name not in ENTRIES or not callable(found):
            return found
        return functools.update_wrapper(functools.partial(self._run, found), found)  # pipelines ask what it takes

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it."""
        return self._run(self._real, *args, **kwargs)


class Echo:
    """Answers like a network, with zeros; the network itself runs once for each kind of call, to show the form."""

    def __init__(self) -> None:
        self._forms: dict[tuple[bool, tuple[int, ...]], Any] = {}
        self._latents: int | str = 0

    def learn(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], latents: Callable[[Any], bool]) -> bool:
        """Find out which argument is the latents, and say whether there is one."""
        given: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
        found = next((key for key, value in given.items() if isinstance(value, Tensor) and latents(value)), None)
        self._latents = self._latents if found is None else found
        return found is not None

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return zeros of the form of the network's answer, with as many rows as the call has."""
        latents = args[self._latents] if isinstance(self._latents, int) else kwargs[self._latents]
        kind = bool(kwargs.get("return_dict", True)), tuple(latents.shape[1:])
        if kind not in self._forms:
            with torch.inference_mode(False), torch.no_grad():
                self._forms[kind] = mapped(function(*args, **kwargs), lambda part: part.new_zeros(part.shape[1:]))
        return mapped(self._forms[kind], lambda part: part.expand(len(latents), *part.shape))


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply to every tensor in what a network takes or answers: tensors, tuples, lists, dicts, diffusers' outputs."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return type(value)(**{key: mapped(part, change) for key, part in value.items()})
    if isinstance(value, (list, tuple)):
        return type(value)([mapped(part, change) for part in value])
    return value


def tensors(value: Any) -> Iterator[Tensor]:
    """Return every tensor in what a function takes or answers."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part)
