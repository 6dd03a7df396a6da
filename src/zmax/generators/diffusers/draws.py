"""Put given noises where a program draws normal ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from zmax.core.errors import ShapeError

Supply = Callable[[tuple[int, ...]], Tensor]
"""shape -> the noise that takes the place of a draw of that shape."""


class Draws(TorchFunctionMode):
    """While open, every `torch.randn` and `torch.randn_like` of this thread gets its values from `supply`.

    This is how the randomness of a program that keeps its own, such as a pipeline with a stochastic scheduler, becomes
    an argument: the noises keep their graph, and no random stream is touched. Reference: the documented override
    https://docs.pytorch.org/docs/stable/torch.overrides.html.

    Args:
        supply: gives the noise for each draw, in the program's order.

    Example:
        >>> with Draws(torch.ones):
        ...     noise = torch.randn(2, dtype=torch.float64)
        >>> noise
        tensor([1., 1.], dtype=torch.float64)
    """

    def __init__(self, supply: Supply) -> None:
        super().__init__()
        self._supply = supply

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Answer draws; let everything else through."""
        options: dict[str, Any] = kwargs or {}
        if func is torch.randn:
            size = options.get("size", args[0] if args and isinstance(args[0], Sequence) else args)
            dtype = options.get("dtype") or torch.get_default_dtype()
            return self._supply(tuple(size)).to(options.get("device") or torch.device("cpu"), dtype)
        if func is torch.randn_like:  # noqa: TID251 - what others draw
            like: Tensor = args[0] if args else options["input"]
            return self._supply(tuple(like.shape)).to(like.device, options.get("dtype") or like.dtype)
        return func(*args, **options)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let everything through for a while, at no cost: only inside of the mode itself."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            self.__enter__()  # type: ignore[no-untyped-call]


class Replay:
    """Supply the noises of a batch one after the other.

    Args:
        noises: each (n, ...), in the order of the draws.

    Raises:
        ShapeError: at a draw of another shape than the next noise's, or one too many.
    """

    def __init__(self, noises: Sequence[Tensor]) -> None:
        self._left = list(noises)

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        """Return the next noise."""
        noise = self._left.pop(0) if self._left else None
        if noise is None or tuple(noise.shape) != shape:
            got = "no noise is left" if noise is None else f"a noise of shape {tuple(noise.shape)}"
            remedy = "the pipeline must draw the same noises at every call, each with one row a sample"
            raise ShapeError("noise drawn by the pipeline", expected=shape, got=got, remedy=remedy)
        return noise
