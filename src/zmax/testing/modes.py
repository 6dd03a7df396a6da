"""The highest mode of a Gaussian mixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError

if TYPE_CHECKING:
    from zmax.testing.mixture import GaussianMixture

_ROUNDS = 2000
_TOLERANCE = 1e-9


def highest_mode(law: GaussianMixture) -> Float[Tensor, " d"]:
    r"""Return the point of highest density.

    The fixed point of :math:`x \leftarrow (\sum_k r_k C_k^{-1})^{-1} \sum_k r_k C_k^{-1} m_k`, r the
    responsibilities at x, never lowers the density. It is run from every mean and from the peak of every product of
    two components (elongated components that cross have a mode there), then ended by Newton steps; the best point
    is kept. Modes that only three or more components make together could be missed: for those, compare with a grid.
    Reference: Carreira-Perpiñán 2000, *Mode-finding for mixtures of Gaussian distributions*,
    https://doi.org/10.1109/34.888716.

    Raises:
        InputError: the gradient at the best point is not zero to rounding (components that nearly coincide).
    """
    precisions = torch.linalg.inv(law.covs)
    x = _starts(law, precisions)
    for _ in range(_ROUNDS):
        before, x = x, _climb(law, precisions, x)
        if float((x - before).abs().max()) <= 1e-14 * (1.0 + float(x.abs().max())):
            break
    best = x[law.log_prob(x).argmax()]
    for _ in range(20):
        best = _newton(law, precisions, best)
    gradient, _ = _derivatives(law, precisions, best)
    worst = float((torch.linalg.cholesky(law.covs[_owner(law, best)]).T @ gradient).norm())
    if worst > _TOLERANCE:
        raise InputError("the mode of a mixture was not found", expected=f"gradient < {_TOLERANCE:g}", got=worst)
    return best


def _starts(law: GaussianMixture, precisions: Float[Tensor, "k d d"]) -> Float[Tensor, "s d"]:
    pull = torch.einsum("kij,kj->ki", precisions, law.means)
    first, second = torch.triu_indices(len(pull), len(pull))
    return torch.linalg.solve(precisions[first] + precisions[second], pull[first] + pull[second])


def _climb(law: GaussianMixture, precisions: Tensor, x: Float[Tensor, "s d"]) -> Float[Tensor, "s d"]:
    share = law.log_joint(x).softmax(1)
    pull = torch.einsum("sk,kij,kj->si", share, precisions, law.means)
    return torch.linalg.solve(torch.einsum("sk,kij->sij", share, precisions), pull)


def _newton(law: GaussianMixture, precisions: Tensor, x: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    """Take the Newton step of the log density if it does not lower it."""
    gradient, hessian = _derivatives(law, precisions, x)
    if float(torch.linalg.eigvalsh(hessian).max()) >= 0:
        return x
    ahead = x - torch.linalg.solve(hessian, gradient)
    both = torch.stack([x, ahead])
    value = law.log_prob(both)
    return ahead if float(value[1] - value[0]) >= -1e-13 * (1 + abs(float(value[0]))) else x


def _derivatives(law: GaussianMixture, precisions: Tensor, x: Float[Tensor, " d"]) -> tuple[Tensor, Tensor]:
    """Return gradient and Hessian of the log density at x."""
    share = law.log_joint(x[None]).softmax(1)[0]
    slopes = torch.einsum("kij,kj->ki", precisions, law.means - x)
    gradient = share @ slopes
    spread = torch.einsum("k,ki,kj->ij", share, slopes, slopes) - gradient[:, None] * gradient
    return gradient, spread - torch.einsum("k,kij->ij", share, precisions)


def _owner(law: GaussianMixture, x: Float[Tensor, " d"]) -> int:
    return int(law.log_joint(x[None]).argmax())
