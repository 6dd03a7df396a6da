"""Find out what a pipeline draws and which of its parts denoise, by calls in which no network computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zmax.generators.diffusers.draws import Draws
from zmax.generators.diffusers.standins import Echo, tensors


class Trace(Draws):
    """Notes every noise that a pipeline draws, and follows what comes of them.

    Args:
        supply: gives the noise for each draw, by its number and shape.
        echoes: answers that are known, of networks that need not run once more.

    Attributes:
        shapes: of the noises, rows first.
        echoes: answers of each part that was run on what comes of a noise, and could denoise.
        loud: parts that draw noise inside.
        wild: parts that draw other random numbers, "" for the pipeline's own code.
    """

    def __init__(self, supply: Callable[[int, tuple[int, ...]], Tensor], echoes: Mapping[str, Echo]) -> None:
        super().__init__(self._note)
        self._given = supply
        self.shapes: list[tuple[int, ...]] = []
        self.echoes = dict(echoes)
        self.loud: set[str] = set()
        self.wild: list[str] = []
        self._inside = ""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Answer draws, and mark what is made of them."""
        out = super().__torch_function__(func, types, args, kwargs)
        drawn = func in (torch.randn, torch.randn_like)  # noqa: TID251 - what others draw
        if drawn or of_noise((args, kwargs)):
            for tensor in tensors(out):
                tensor._of_noise = True  # type: ignore[attr-defined]
        return out

    def runner(self, name: str, part: nn.Module) -> Callable[..., Any]:
        """Return how a part is run: idly, if it denoises."""
        echo = self.echoes.get(name) or Echo()

        def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            around, before, self._inside = self._inside, streams(), name
            try:
                if could_denoise(part) and echo.learn(args, kwargs, of_noise):
                    self.echoes[name] = echo
                    return echo(function, *args, **kwargs)
                return function(*args, **kwargs)
            finally:
                self._inside = around
                if streams() != before:
                    self.wild.append(name)

        return run

    def _note(self, shape: tuple[int, ...]) -> Tensor:
        self.shapes.append(shape)
        self.loud |= {self._inside} - {""}
        return self._given(len(self.shapes) - 1, shape)


def of_noise(value: Any) -> bool:
    """Tell whether any tensor in a value comes of a noise."""
    return any(hasattr(tensor, "_of_noise") for tensor in tensors(value))


def could_denoise(part: object) -> bool:
    """Tell the networks of diffusers from its autoencoders, and from encoders, which are of transformers."""
    from diffusers import ModelMixin

    real = getattr(part, "_orig_mod", part)
    return isinstance(real, ModelMixin) and not hasattr(real, "decode")


def streams() -> list[bytes]:
    """Return where torch's global random streams are."""
    return [bytes(state.numpy()) for state in _states()]


class Restored:
    """While open, torch's global random streams may move; then they are put back."""

    def __enter__(self) -> Restored:
        self._states = _states()
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_rng_state(self._states[0])
        if len(self._states) > 1:
            torch.cuda.set_rng_state_all(self._states[1:])


def _states() -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else ())]
