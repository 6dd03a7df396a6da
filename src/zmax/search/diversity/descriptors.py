"""What makes samples different: descriptors, named so that a command line and another process find them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zmax.core.errors import CapabilityError, InputError, ShapeError, ZmaxError
from zmax.core.imports import load_attribute, looks_like_import
from zmax.core.samples import Samples, describe, stack, take
from zmax.scores import load_score

Function = Callable[[Samples], Any]
FORMS = 'scores by name, as "brightness,colourfulness", or "file.py:attr", "pkg.mod:attr", or a callable'


@dataclass(frozen=True)
class Descriptor:
    """A function from samples to k numbers each, with the names of those numbers where it gives any.

    Attributes:
        text: how another process finds it.
        function: samples -> tensor (n, k) or (n,), or a dict from name to (n,).
    """

    text: str
    function: Function

    def __call__(self, samples: Samples) -> tuple[tuple[str, ...], Float[Tensor, "n k"]]:
        """Return the names and the values, with their graph.

        Raises:
            InputError: the function raises.
            ShapeError: it gives something else than k numbers for each sample.
        """
        try:
            found = self.function(samples)
        except Exception as error:
            if isinstance(error, ZmaxError) and not isinstance(error, ShapeError):
                raise
            remedy = f"give a descriptor that suits these samples: {FORMS}"
            raise InputError(f"the descriptor {self.text!r} failed", got=error, remedy=remedy) from error
        columns = list(found.values()) if isinstance(found, Mapping) else [found]
        expected = f"a tensor ({len(samples)}, k), or a dict of tensors ({len(samples)},)"
        if not columns or not all(isinstance(c, Tensor) and len(c.shape) in (1, 2) for c in columns):
            raise ShapeError(f"values of the descriptor {self.text!r}", expected=expected, got=describe(found))
        values = torch.cat([c[:, None] if c.ndim == 1 else c for c in columns], dim=1)
        if len(values) != len(samples):
            raise ShapeError(f"values of the descriptor {self.text!r}", expected=expected, got=describe(values))
        numbered = tuple(f"descriptor {j + 1}" for j in range(values.shape[1]))
        return tuple(found) if isinstance(found, Mapping) else numbered, values

    def places(
        self, samples: Samples, ok: Bool[Tensor, " n"]
    ) -> tuple[tuple[str, ...], Float[Tensor, "n k"], Bool[Tensor, " n"]]:
        """Return names, values and which rows have finite ones; rows that are not ok are not looked at."""
        rows = ok.nonzero().flatten().tolist()
        chosen = take(samples, rows)
        with torch.no_grad():
            names, values = self(stack(chosen) if isinstance(chosen, list) else chosen)
        place = torch.zeros(len(ok), values.shape[1], dtype=torch.float64)
        place[rows] = values.detach().cpu().double()
        finite = torch.isfinite(place).all(1)
        return names, place.nan_to_num(0.0, 0.0, 0.0), ok & finite

    def cotangents(self, sample: Tensor) -> Float[Tensor, "k ..."]:
        """Return the gradient of each value by a batch of one sample.

        Raises:
            CapabilityError: it cannot be differentiated.
        """
        with torch.enable_grad():
            leaf = sample.detach().clone().requires_grad_()
            _, values = self(leaf)
            if not values.requires_grad:
                remedy = "choose a method that needs no gradient: 'cma-mae'"
                raise CapabilityError(f"the descriptor {self.text!r} gives no gradient", remedy=remedy)
            found = [torch.autograd.grad(v, leaf, retain_graph=True, allow_unused=True)[0] for v in values[0].unbind(0)]
        return torch.cat([torch.zeros_like(leaf) if g is None else g for g in found]).nan_to_num(0.0, 0.0, 0.0)


def as_descriptor(given: Function | str) -> Descriptor:
    """Return the descriptor that a text names, or wrap a callable.

    Raises:
        InputError: it is neither, or the text names nothing.

    Example:
        >>> as_descriptor("brightness,colourfulness")(torch.zeros(1, 3, 4, 4))[0]
        ('brightness', 'colourfulness')
    """
    if isinstance(given, str):
        return Descriptor(given, _named(given))
    if not callable(given):
        raise InputError("descriptor", expected=FORMS, got=repr(given))
    name = getattr(given, "__qualname__", type(given).__qualname__)
    return Descriptor(f"{getattr(given, '__module__', '__main__')}:{name}", given)


def _named(text: str) -> Function:
    if looks_like_import(text):
        found = load_attribute(text)
        if not callable(found):
            raise InputError(f"the descriptor {text!r}", expected="a callable", got=type(found).__name__)
        return found
    specs = [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]
    if not specs:
        raise InputError("descriptor", expected=FORMS, got=repr(text))
    terms = [load_score(spec) for spec in specs]
    return lambda samples: {term.name: term(samples) for term in terms}
