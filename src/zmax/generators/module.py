"""Wrap any decoder, an nn.Module or a plain function, as a Generator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import Tensor, nn

from zmax.core.errors import InputError
from zmax.core.generator import MODALITIES, Generator
from zmax.core.priors import Prior
from zmax.core.samples import Samples
from zmax.core.space import LatentValue, Space


def generator(
    decode: Callable[..., Any] | nn.Module | Generator,
    shape: Sequence[SupportsIndex] | SupportsIndex | None = None,
    prior: str | Prior = "normal",
    *,
    space: Space | None = None,
    differentiable: bool | None = None,
    modality: str = "other",
    name: str | None = None,
    networks: Sequence[nn.Module] | None = None,
) -> Generator:
    """Wrap a decoder as a Generator.

    Args:
        decode: maps a batch of latents (n, *shape) to n samples: a tensor, a numpy array or a list of anything.
            A module is put in evaluation mode and receives latents on its own device and dtype.
        shape: shape of one latent, such as (100,).
        prior: law of the latents: "normal", "uniform", "truncated", "sphere" or a Prior.
        space: instead of shape and prior, for several blocks (latents then come as a dict).
        differentiable: whether autograd can follow `decode`; None lets a run find out, by
            decoding a few prior draws.
        modality: "image" (n, 3, h, w in [0, 1]), "text", "vector" or "other"; decides how reports show samples.
        name: how reports call it.
        networks: networks that `decode` runs, if it is a function around them; each call is one NFE a sample.
            A function without networks counts as one NFE a sample.

    Returns:
        The generator; a Generator passes through unchanged.

    Raises:
        InputError: the decoder is a class, neither shape nor space is given, a size in shape is not a positive whole
            number, or the modality is unknown.

    Example:
        >>> import torch, zmax
        >>> G = zmax.generator(torch.nn.Linear(8, 2), shape=(8,), modality="vector")
        >>> G.decode(G.space.latents(torch.zeros(5, 8))).shape
        torch.Size([5, 2])
    """
    if isinstance(decode, Generator):
        return decode
    if inspect.isclass(decode):
        name = decode.__name__
        remedy = f"make one first: zmax.generator({name}(...), shape=(100,))"
        raise InputError(f"the generator {name} is a class", expected="a module or function", remedy=remedy)
    if not callable(decode):
        raise InputError("a generator", expected="a callable latents -> samples", got=type(decode).__name__)
    if modality not in MODALITIES:
        raise InputError("modality", expected=", ".join(MODALITIES), got=repr(modality))
    if space is None:
        if shape is None:
            raise InputError("a generator needs the shape of its latents", remedy="zmax.generator(fn, shape=(100,))")
        space = Space.of(shape, prior)
    return Wrapped(
        decode,
        space=space,
        differentiable=differentiable,
        modality=modality,
        name=str(name or getattr(decode, "__name__", type(decode).__name__)),
        networks=networks,
    )


class Wrapped(Generator):
    """Any callable as a Generator; see :func:`generator`."""

    def __init__(
        self,
        decode: Callable[..., Any] | nn.Module,
        *,
        space: Space,
        differentiable: bool | None,
        modality: str,
        name: str,
        networks: Sequence[nn.Module] | None,
    ) -> None:
        self._module = decode.eval() if isinstance(decode, nn.Module) else Opaque(decode)
        self.space = space
        self.modality = modality
        self.name = name
        self.networks = tuple(networks) if networks else (self._module,)
        self.differentiable = differentiable

    def decode(self, z: LatentValue) -> Samples:
        """Call the decoder on its own device and dtype; numpy arrays become tensors."""
        samples = self._module(_place(z, self._module))
        return torch.as_tensor(samples, device="cpu") if isinstance(samples, np.ndarray) else samples


class Opaque(nn.Module):
    """A function as a network of one call, so that the same hooks count it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *given: Any) -> Any:
        """Call the function."""
        return self.function(*given)


def _place(z: LatentValue, module: nn.Module) -> LatentValue:
    """Move latents to where the module's parameters are, in their dtype."""
    parameter = next((p for p in module.parameters() if p.is_floating_point()), None)
    if parameter is None:
        return z
    if isinstance(z, Tensor):
        return z.to(parameter.device, parameter.dtype)
    return {name: part.to(parameter.device, parameter.dtype) for name, part in z.items()}
