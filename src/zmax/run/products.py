"""Products of a decoder's Jacobian J(u) with vectors, from the right and from the left."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.budget import Ledger
from zmax.core.errors import ShapeError
from zmax.core.generator import Generator
from zmax.core.samples import describe
from zmax.core.strategy import Cotangents


def pull_back(
    generator: Generator, u: Float[Tensor, "n dim"], cotangent: Float[Tensor, "n ..."] | Cotangents
) -> tuple[Float[Tensor, "n dim"], Float[Tensor, "n ..."]]:
    """Return J(u)^T c for each row, and the samples G(u): one decode and one backward pass.

    Raises:
        ShapeError: cotangents have another shape than the samples.
    """
    with torch.enable_grad():
        leaf = u.detach().requires_grad_()
        samples = generator.decode(generator.space.latents(leaf))
        if not isinstance(samples, Tensor):
            raise ShapeError("samples to pull back through", expected="a tensor", got=describe(samples))
        given = cotangent if isinstance(cotangent, Tensor) else cotangent(samples.detach())
        if samples.shape != given.shape:
            expected = f"the shape of the samples: {describe(samples)}"
            raise ShapeError("cotangents to pull back", expected=expected, got=tuple(given.shape))
        (product,) = torch.autograd.grad(samples, leaf, given.to(samples))
    return product, samples.detach()


def push_forward(
    generator: Generator, u: Float[Tensor, "n dim"], tangent: Float[Tensor, "n dim"], ledger: Ledger
) -> tuple[Float[Tensor, "n ..."], Float[Tensor, "n ..."]]:
    """Return J(u) v for each row, and the samples G(u).

    It pulls back twice: c -> J^T c is linear, and its transpose applied to v is J v.

    That works wherever a backward pass does, which forward mode does not. The second pass is charged as a backward one.
    """
    with torch.enable_grad():
        leaf = u.detach().requires_grad_()
        before = ledger.nfe
        samples = generator.decode(generator.space.latents(leaf))
        passes = ledger.nfe - before
        assert isinstance(samples, Tensor), "a differentiable generator returns tensors"
        dummy = torch.zeros_like(samples, requires_grad=True)
        (pulled,) = torch.autograd.grad(samples, leaf, dummy, create_graph=True)
        (product,) = torch.autograd.grad(pulled, dummy, tangent.to(pulled))
    ledger.nfe_backward += passes
    return product, samples.detach()
