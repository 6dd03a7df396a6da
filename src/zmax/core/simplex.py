"""Weights that sum to 1, such as those of a mix of styles, as a prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError
from zmax.core.priors import FAR, Prior


@dataclass(frozen=True)
class Simplex(Prior):
    r"""Weights :math:`w_i \ge 0` with :math:`\sum_i w_i = 1`, all equally likely: Dirichlet(1, ..., 1).

    .. math:: w_i = e_i / \textstyle\sum_j e_j, \qquad e_i = -\ln\bigl(1 - \Phi(u_i)\bigr)

    The :math:`e_i` are exponential variables. A weight of 0 is reached at :math:`u_i \le -5`, and so is every face and
    every corner.

    Args:
        k: weights that sum to 1; the coordinates of a block are one such group after another.

    Raises:
        InputError: k is no whole number from 2 on.

    Reference: Devroye, Non-uniform random variate generation, 1986, chapter XI, theorem 4.1.

    Example:
        >>> w = Simplex(3).to_latent(torch.tensor([[0.0, 0.0, 0.0], [5.0, -5.0, -5.0]]))
        >>> [[round(v, 3) for v in row] for row in w.tolist()]
        [[0.333, 0.333, 0.333], [1.0, 0.0, 0.0]]
    """

    k: int
    radial: ClassVar[bool] = False
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 2:
            raise InputError("weights of a simplex", expected="a whole number from 2 on", got=repr(self.k))

    @property
    def group(self) -> int:
        """Number of weights that sum to 1."""
        return self.k

    def to_latent(self, u: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Draw exponential variables and divide by their sums."""
        u = u.clamp_min(-FAR).unflatten(1, (-1, self.k))
        e = (_exponential(u) - _exponential(u.new_tensor(-FAR))).clamp_min(0)
        total = e.sum(2, keepdim=True)
        even = torch.full_like(e, 1 / self.k)
        return torch.where(total > 0, e / total.clamp_min(torch.finfo(e.dtype).tiny), even).flatten(1)

    def to_white(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Return the point whose exponential variables sum to k, as those of prior draws do on average."""
        w = z.unflatten(1, (-1, self.k)).clamp_min(0)
        w = w / w.sum(2, keepdim=True)
        e = w * float(self.k) + _exponential(w.new_tensor(-FAR))
        return _normal(e).clamp(-FAR, FAR).flatten(1)


def _exponential(u: Tensor) -> Tensor:
    """Return -ln(1 - Phi(u)), precise in both tails."""
    return -torch.special.log_ndtr(-u)


def _normal(e: Tensor) -> Tensor:
    """Return the u of which :func:`_exponential` is e, from the nearer tail."""
    share = torch.exp(-e)
    return torch.where(e < 0.5, torch.special.ndtri(-torch.expm1(-e)), -torch.special.ndtri(share))
