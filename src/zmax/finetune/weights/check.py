"""Find out by experiment whether a child's weights are those that it decodes by."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zmax.core.errors import CapabilityError
from zmax.core.generator import Generator
from zmax.core.rng import stream

SCALES = (0.01, 0.1, 1.0)
"""Sizes of the changes that are tried one after the other, until samples change."""

FAR = 1e-4
"""How much a sample must change, in standard deviations of all values."""


def check(parent: Generator, child: Generator, weights: Mapping[str, nn.Parameter]) -> None:
    """Change each network's weights a little: what the child decodes or encodes must change, the parent's must not.

    Args:
        parent: the generator.
        child: its copy, whose weights are as they were afterwards.
        weights: those that move, by "{network}.{path}".

    Raises:
        CapabilityError: a network's weights have no effect, or one on the parent.
    """
    at_first = seen(parent)
    samples = at_first if isinstance(at_first, Tensor) else None
    for index in dict.fromkeys(name.partition(".")[0] for name in weights):
        own = [weight for name, weight in weights.items() if name.partition(".")[0] == index]
        kept = [weight.detach().clone() for weight in own]
        begun, told, moved, touched = seen(child), encoded(child, samples), False, False
        for scale in SCALES:
            _shake(own, scale)
            moved = differ(begun, seen(child)) or differ(told, encoded(child, samples))
            touched = isinstance(at_first, Tensor) and differ(at_first, seen(parent))
            if moved or touched:
                break
        with torch.no_grad():
            for weight, value in zip(own, kept, strict=True):
                weight.copy_(value)
        if touched or not moved:
            raise CapabilityError(
                f"weights of network {index} of {parent.name!r}",
                expected="a copy that decodes by its own weights",
                got="changed weights change the parent" if touched else "changed weights change no sample",
                remedy="give the module itself, not a function around it: zmax.generator(module, ...) or"
                " zmax.diffusion(module, ...); or choose `layers` of other networks",
            )


def seen(generator: Generator) -> object:
    """Decode two fixed latents."""
    u = generator.space.sample(2, stream(0, "finetune", "check"))
    with torch.no_grad():
        samples = generator.decode(generator.space.latents(u))
    return samples.detach().double().cpu() if isinstance(samples, Tensor) else repr(list(samples))


def encoded(generator: Generator, samples: Tensor | None) -> Tensor | None:
    """Encode samples, where there is an encoder."""
    if generator.encoder is None or samples is None:
        return None
    with torch.no_grad():
        return torch.cat(generator.encoder(samples.float()), 1).double().cpu()


def differ(before: object, after: object) -> bool:
    """Say whether samples have changed."""
    if isinstance(before, Tensor) and isinstance(after, Tensor):
        change = (before - after).nan_to_num().abs().max()
        return bool(change > FAR * before.nan_to_num().std())
    return before != after


def _shake(weights: list[nn.Parameter], scale: float) -> None:
    rng = stream(0, "finetune", "shake")
    with torch.no_grad():
        for weight in weights:
            noise = torch.randn(weight.shape, generator=rng, device="cpu", dtype=torch.float32)
            weight.add_(scale * (weight.square().mean().sqrt() + 0.1) * noise.to(weight))
