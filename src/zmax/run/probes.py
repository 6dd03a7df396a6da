"""Whether gradients flow through a decoder or a score that never said so, found out by a few calls."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zmax.core.generator import Generator
from zmax.core.rng import stream
from zmax.core.samples import Samples
from zmax.core.score import Score

PROBED = 2
"""Samples that a score is probed on."""

DRAWS = 4
"""Prior draws that a decoder is probed at, at most."""


def decoder_flows(generator: Generator, charge: Callable[[int], None]) -> bool:
    """Say whether samples have a finite gradient by latents, and one that is not zero at one of a few prior draws."""
    for u in generator.space.sample(DRAWS, stream(0, "differentiable")).split(1):
        charge(1)
        grad = _slope(generator, u.requires_grad_())
        if grad is None or not grad.isfinite().all():
            return False
        if grad.any():  # else a flat spot, which another draw may not hit
            return True
    return False


def settle_score(score: Score, samples: Samples) -> bool:
    """Find out whether gradient methods can use a score, by one call on a few samples; kept in `differentiable`.

    Every term of a combined score must pass, since a term that autograd cannot follow would be left out of the
    gradient without a word. A score that declares itself a black box is not called.

    Example:
        >>> from zmax.scores import score
        >>> x = torch.rand(2, 3)
        >>> [settle_score(score(f), x) for f in (lambda x: x.sum(1), lambda x: x.round().sum(1))]
        [True, False]
    """
    if score.terms:
        flows = [settle_score(term, samples) for term in score.terms]  # every term, so that each is settled
        found = all(flows)
    else:
        found = score.differentiable is not False and _score_flows(score, samples)
    score.differentiable = found
    return found


def _score_flows(score: Score, samples: Samples) -> bool:
    """Say whether a finite gradient reaches the samples; where nothing was declared, one of zeros counts as none."""
    if not isinstance(samples, Tensor) or not samples.is_floating_point() or not len(samples):
        return False
    x = samples[:PROBED].detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            values = score(x)
            if not values.requires_grad:
                return False
            (gradient,) = torch.autograd.grad(values[torch.isfinite(values)].sum(), x, allow_unused=True)
    except Exception:  # noqa: BLE001 - a function that refuses tensors with a graph is not differentiable
        return False
    if gradient is None or not bool(torch.isfinite(gradient).all()):
        return False
    return score.differentiable is not None or bool((gradient != 0).any())


def _slope(generator: Generator, u: Tensor) -> Tensor | None:
    """Return the gradient of a random projection of the sample with respect to u, None where there is none."""
    try:
        with torch.enable_grad():
            samples = generator.decode(generator.space.latents(u))
            if not isinstance(samples, Tensor) or not samples.requires_grad:
                return None
            rng = stream(0, "differentiable", "projection")
            weight = torch.randn(samples.shape, generator=rng, device="cpu", dtype=torch.float32)
            return torch.autograd.grad((samples * weight.to(samples)).sum(), u, allow_unused=True)[0]
    except Exception:  # noqa: BLE001 - a decoder that refuses graph tensors is not differentiable
        return None
