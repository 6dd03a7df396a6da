"""Count network evaluations by hooks on the networks, not by trust."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from zmax.core.budget import Ledger

_metered: Counter[int] = Counter()
"""Open meters by thread."""


class Meter:
    """While open, every forward call of the networks, and every gradient through one, is charged per sample.

    A call on a batch of n counts n; classifier-free guidance on a doubled batch counts 2n; a recomputation under
    checkpointing counts again, because it costs again (hence the count on entry: a recomputation may stop midway).
    Of threads that share a network, each with a meter of its own, each is charged for its calls alone.
    """

    def __init__(self, networks: Iterable[nn.Module], ledger: Ledger) -> None:
        self._networks = tuple(dict.fromkeys(networks))
        self._ledger = ledger
        self._handles: list[RemovableHandle] = []
        self._thread = 0

    def __enter__(self) -> Meter:
        self._thread = threading.get_ident()
        _metered[self._thread] += 1
        for network in self._networks:
            self._handles.append(network.register_forward_pre_hook(self._before, with_kwargs=True))
            self._handles.append(network.register_forward_hook(self._after, with_kwargs=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        _metered[self._thread] -= 1

    @property
    def _others(self) -> bool:
        """Whether a call is another run's: its thread, which may be one of autograd's, has a meter of its own."""
        caller = threading.get_ident()
        return caller != self._thread and _metered[caller] > 0

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._others:
            return
        self._ledger.nfe += _batch((*args, *kwargs.values()))

    def _after(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        result = next(_tensors(output), None)
        if result is not None and result.requires_grad and not self._others:
            n = _batch((*args, *kwargs.values()))
            result.register_hook(lambda grad: self._backward(n))

    def _backward(self, n: int) -> None:
        self._ledger.nfe_backward += n


def _batch(arguments: tuple[Any, ...]) -> int:
    """Return the samples of a call: the length of its first tensor that is no single number, such as a time."""
    return next((tensor.shape[0] for tensor in _tensors(arguments) if tensor.ndim), 1)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from chain.from_iterable(map(_tensors, value.values()))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield from chain.from_iterable(map(_tensors, value))
