"""Any generator, searched in a few directions of its latents only."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError, ShapeError
from zmax.core.generator import Generator
from zmax.core.rng import stream
from zmax.core.samples import Samples
from zmax.core.space import LatentValue, Space


class Subspace(Generator):
    """A generator behind an affine map of its whitened coordinates; see :func:`subspace`."""

    def __init__(self, inner: Generator, basis: Float[Tensor, "dim k"], origin: Float[Tensor, " dim"]) -> None:
        self.inner, self.basis, self.origin = inner, basis, origin
        self.space = Space.of((basis.shape[1],))
        self.name = f"{inner.name} in {basis.shape[1]} dimensions"
        self.differentiable, self.modality, self.networks = inner.differentiable, inner.modality, inner.networks
        self.prompts, self.remarks = inner.prompts, inner.remarks

    def decode(self, z: LatentValue) -> Samples:
        """Map v (n, k) to u = origin + basis v and decode that."""
        assert isinstance(z, Tensor)
        return self.inner.decode(self.inner.space.latents(self.origin.to(z) + z @ self.basis.to(z).T))


def subspace(
    generator: Generator,
    dim: int | None = None,
    *,
    directions: Float[Tensor, "k dim"] | None = None,
    origin: Float[Tensor, " dim"] | None = None,
    seed: int = 0,
) -> Generator:
    r"""Restrict a generator to a subspace of its whitened latents.

    .. math:: u = c + B v, \qquad v \sim N(0, I_k),\quad B^\top B = I,\quad B^\top c = 0,\quad |c|^2 = d - k

    so that u is as typical as a prior draw wherever v is: the other d - k coordinates are held at a typical point.

    Reference: Wang et al. 2016, *Bayesian optimization in a billion dimensions via random embeddings*,
    https://arxiv.org/abs/1301.1942; Letham et al. 2020, https://arxiv.org/abs/2001.11659, on staying typical.

    Args:
        generator: any.
        dim: k, for random directions.
        directions: k given directions in whitened coordinates, such as latent attribute directions; they are made
            orthonormal.
        origin: whitened point through which the subspace goes; its part along the directions plays no part. None draws
            one from the prior.
        seed: of the random directions and of the origin.

    Raises:
        InputError: neither or both of dim and directions are given, or k is not between 1 and d - 1.
        ShapeError: directions or origin do not fit the generator.

    Example:
        >>> import torch, zmax
        >>> G = zmax.generator(torch.nn.Identity(), shape=(100,), modality="vector")
        >>> few = subspace(G, 5)
        >>> u = few.decode(few.space.sample(1000, torch.Generator().manual_seed(0)))
        >>> few.space.dim, bool((u.square().sum(1).mean() - 100).abs() < 1)
        (5, True)
    """
    if (dim is None) == (directions is None):
        raise InputError("subspace", expected="one of dim (random directions) and directions")
    d = generator.space.dim
    k = len(directions) if directions is not None else dim
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k < d:
        raise InputError("dimension of a subspace", expected=f"an int from 1 to {d - 1}", got=repr(k))
    rng = stream(seed, "subspace")
    rows = torch.randn(k, d, generator=rng, device="cpu", dtype=torch.float64) if directions is None else directions
    centre = torch.randn(d, generator=rng, device="cpu", dtype=torch.float64) if origin is None else origin
    for what, value, shape in (("directions", rows, (k, d)), ("origin", centre, (d,))):
        if tuple(value.shape) != shape:
            raise ShapeError(f"{what} of a subspace of {generator.name!r}", expected=shape, got=tuple(value.shape))
    basis, triangle = torch.linalg.qr(rows.double().T)
    if float(triangle.diagonal().abs().min()) < 1e-9 * float(triangle.diagonal().abs().max()):
        raise InputError("directions of a subspace", expected="linearly independent ones")
    centre = centre.double() - basis @ (basis.T @ centre.double())
    centre = centre * ((d - k) ** 0.5 / centre.norm().clamp_min(1e-12))
    return Subspace(generator, basis.float(), centre.float())
