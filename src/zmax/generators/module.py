"""Wrap any decoder, an nn.Module or a plain function, as a Generator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, SupportsIndex

import torch
from torch import Tensor, nn

from zmax.core.defaults import theirs
from zmax.core.errors import InputError, ShapeError
from zmax.core.generator import MODALITIES, Encoder, Generator
from zmax.core.networks import Opaque, as_network, dtypes, set_mode, takes_hooks
from zmax.core.priors import Prior
from zmax.core.samples import Samples, describe
from zmax.core.space import LatentsLike, LatentValue, Space
from zmax.generators.outputs import as_samples


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
    encoder: Encoder | None = None,
) -> Generator:
    """Wrap a decoder as a Generator.

    Args:
        decode: maps a batch of latents (n, *shape) to n samples: a tensor, an array, a list of anything, a data frame
            or a dict of columns (samples are then its rows, as dicts), or an object that holds these as `sample`. A
            module is put in evaluation mode and receives latents on its own device and dtype; TorchScript and
            `torch.export` programs do as well.
        shape: shape of one latent, such as (100,).
        prior: law of the latents: "normal", "uniform", "truncated", "sphere" or a Prior.
        space: instead of shape and prior, for several blocks (latents then come as a dict).
        differentiable: whether autograd can follow `decode`; None lets a run find out, by
            decoding a few prior draws.
        modality: "image" (n, 3, h, w in [0, 1]), "text", "vector", "audio" ((n, t) or
            (n, channels, t) in [-1, 1]), "video" (n, frames, 3, h, w in [0, 1]) or "other"; decides how samples are
            shown and written as files.
        name: how reports call it.
        networks: networks that `decode` runs, if it is a function around them; each call is one NFE a sample.
            A function without networks counts as one NFE a sample, as does one around TorchScript.
        encoder: of a variational autoencoder: a module, or a method of one, that tells of samples the mean and the
            log-variance (n, d) of their latents, as whitened coordinates. Some tuners train by it.

    Returns:
        The generator; a Generator passes through unchanged.

    Raises:
        InputError: the decoder is a class, neither shape nor space is given, a size in shape is not a positive whole
            number, the modality is unknown, or the encoder is no module's.

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
        encoder=encoder,
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
        encoder: Encoder | None = None,
    ) -> None:
        found, shy = as_network(decode), [part for part in networks or () if not takes_hooks(part)]
        self._module = found if isinstance(found, nn.Module) and not shy else Opaque(found, shy)
        self._dtypes = dtypes(self._module)
        self.space = space
        self.modality = modality
        self.name = name
        self.networks = tuple(networks) if networks and not shy else (self._module,)
        self.differentiable = differentiable
        if encoder is not None:
            self.encoder = Encoding(encoder, space.dim)
            self.networks += () if self.encoder.network in self.networks else (self.encoder.network,)

    def decode(self, z: LatentsLike) -> Samples:
        """Call the decoder on its own device and dtype, and return its samples, whatever they come in."""
        latents = self.space.batch(z)
        n = len(latents) if isinstance(latents, Tensor) else len(next(iter(latents.values())))
        return as_samples(self._decoded(latents), n)

    def _decoded(self, z: LatentValue) -> Any:
        """Call the decoder; where its weights are of several dtypes, in the first one that it takes, from then on."""
        for dtype in self._dtypes if len(self._dtypes) > 1 else ():
            with suppress(RuntimeError):
                made = self._called(z, dtype)
                self._dtypes = [dtype]
                return made
        return self._called(z, self._dtypes[0] if self._dtypes else None)

    def _called(self, z: LatentValue, dtype: torch.dtype | None) -> Any:
        with theirs():
            return self._module(_place(z, self._module, dtype))


class Encoding:
    """An encoder on its own device and dtype, whose answer is checked; see :func:`generator`."""

    def __init__(self, encoder: Encoder, dim: int) -> None:
        network = encoder if isinstance(encoder, nn.Module) else getattr(encoder, "__self__", None)
        if not isinstance(network, nn.Module):
            raise InputError("an encoder", expected="a module, or a method of one", got=type(encoder).__name__)
        self.network, self._encoder, self._dim = set_mode(network, False), encoder, dim

    def __call__(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the latents of samples."""
        found = self._encoder(_like(samples, self.network))
        parts = found if isinstance(found, tuple) else (found,)
        if [tuple(part.shape) for part in parts] != [(len(samples), self._dim)] * 2:
            got = describe(found) if isinstance(found, Tensor) else [describe(part) for part in parts]
            expected = f"mean and log-variance, each of shape ({len(samples)}, {self._dim})"
            raise ShapeError("what an encoder tells", expected=expected, got=got)
        return found


def _place(z: LatentValue, module: nn.Module, dtype: torch.dtype | None) -> LatentValue:
    """Move latents to where the module's parameters are, in that dtype."""
    parts = [z] if isinstance(z, Tensor) else list(z.values())
    weight = next((p for p in module.parameters() if p.is_floating_point()), None)
    placed = parts if weight is None else [part.to(weight.device, dtype) for part in parts]
    return placed[0] if isinstance(z, Tensor) else dict(zip(z, placed, strict=True))


def _like(x: Tensor, module: nn.Module) -> Tensor:
    parameter = next((p for p in module.parameters() if p.is_floating_point()), None)
    if parameter is None:
        return x
    return x.to(parameter.device, parameter.dtype) if x.is_floating_point() else x.to(parameter.device)
