"""One named part of a latent: its shape and its prior."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zmax.core.errors import InputError, ShapeError
from zmax.core.priors import Normal, Prior
from zmax.core.samples import describe


@dataclass(frozen=True)
class Block:
    """One named part of the latent, of a given per-sample shape and prior.

    `noise` marks white noise laid out as (channels, *sizes), such as a diffusion model's, and with `steps` many of them
    as (steps, channels, *sizes): the plausibility then also looks at their structure, within each and between all
    (:func:`~zmax.core.noise.path_scores`).

    Raises:
        InputError: a size in the shape is not a whole number, or is negative.
        ShapeError: the prior is one of another number of coordinates.
    """

    name: str
    shape: tuple[int, ...]
    prior: Prior = field(default_factory=Normal)
    noise: bool = False
    steps: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", sizes(self.shape))
        count = math.prod(self.shape)
        if self.prior.size not in (None, count):
            thing = f"the {type(self.prior).__name__} prior of latent block {self.name!r}"
            raise ShapeError(thing, expected=f"{count} coordinates", got=self.prior.size)
        if count % self.prior.group:
            thing = f"latent block {self.name!r} of groups of {self.prior.group}"
            raise ShapeError(thing, expected=f"a multiple of {self.prior.group} coordinates", got=count)

    @property
    def size(self) -> int:
        """Number of whitened coordinates."""
        return self.prior.width(self.shape)

    @property
    def latent(self) -> tuple[int, ...]:
        """Shape of one latent: that of the block, unless its prior adds axes, as one-hot categories do."""
        return self.prior.latent(self.shape)


def batched(block: Block, z: Any) -> Tensor:
    """Return the latents of a block as a tensor (n, *shape), with a hint at what is wrong where they are not."""
    z = torch.from_numpy(z.astype(np.int64 if block.prior.whole else np.float32)) if isinstance(z, np.ndarray) else z
    shape = tuple(z.shape) if isinstance(z, Tensor) else None
    if isinstance(z, Tensor) and shape is not None and shape[1:] == block.latent and shape:
        return z
    remedy = ""
    if shape == block.latent:
        remedy = "a single latent is a batch of one: z[None]"
    elif shape is not None and block.latent[:1] == (1,) and shape[1:] == block.latent[1:]:
        remedy = f"the shape of the space is that of one latent, without the batch: shape={block.shape[1:]}"
    got = "none" if z is None else describe(z)
    raise ShapeError(f"latent block {block.name!r}", expected=("n", *block.latent), got=got, remedy=remedy)


def sizes(shape: Any) -> tuple[int, ...]:
    """Return a shape as whole numbers.

    Raises:
        InputError: it is none.
    """
    try:
        found = tuple(operator.index(size) for size in (shape if isinstance(shape, Iterable) else (shape,)))
    except TypeError:
        found = (-1,)
    if min(found, default=0) < 0:
        raise InputError("shape of the latents", expected="positive whole numbers, as (100,)", got=repr(shape))
    return found
