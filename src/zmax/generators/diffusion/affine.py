"""Find out by experiment how a path model turns the ends of its paths into samples, and go back."""

from __future__ import annotations

import torch
from torch import Tensor

from zmax.core.generator import DiffusionGenerator

STEP = 0.25
EXACT = 1e-3
"""How far from a sample the inverse of `finish` may lead back, in the range of the samples."""


def affine(generator: DiffusionGenerator, samples: Tensor) -> tuple[Tensor, Tensor] | None:
    r"""Return a and b of :math:`\text{finish}(x_0) = a + b\, x_0`, each of one sample's shape.

    Args:
        generator: a diffusion or flow model.
        samples: some, on which it must be so.

    Returns:
        None if it is not, or samples have another shape.
    """
    x = torch.zeros(1, *generator.space.blocks[0].shape, device=generator.device)
    with torch.no_grad():
        low, high = (generator.finish(x + step) for step in (0.0, STEP))
        if not (isinstance(low, Tensor) and isinstance(high, Tensor)) or low.shape[1:] != samples.shape[1:]:
            return None
        low, scale = low.float(), (high.float() - low.float()) / STEP
        if low.shape != x.shape or not bool((scale != 0).all()):
            return None
        again = generator.finish((samples.to(low.device).float() - low) / scale)
    assert isinstance(again, Tensor), "as before"
    far = (again.float() - samples.to(again.device).float()).abs().max()
    return (low, scale) if float(far) <= EXACT * float(samples.max() - samples.min()) else None
