"""The highest mode of a Gaussian mixture."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import InputError

LogJoint = Callable[[Tensor], Tensor]
"""x (n, d) -> log w_k N(x; m_k, C_k), (n, k)."""

_ROUNDS = 2000
_TOLERANCE = 1e-9


def highest_mode(means: Float[Tensor, "k d"], covs: Float[Tensor, "k d d"], log_joint: LogJoint) -> Float[Tensor, " d"]:
    r"""Return the point of highest density.

    The fixed point of :math:`x \leftarrow (\sum_k r_k C_k^{-1})^{-1} \sum_k r_k C_k^{-1} m_k`, r the
    responsibilities at x, never lowers the density. It is run from every mean and from the peak of every product of
    two components (elongated components that cross have a mode there), then ended by Newton steps; the best point
    is kept. Modes that only three or more components make together could be missed: for those, compare with a grid.
    Reference: Carreira-Perpiñán 2000, *Mode-finding for mixtures of Gaussian distributions*,
    https://doi.org/10.1109/34.888716.

    Args:
        means: (k, d).
        covs: (k, d, d).
        log_joint: log density of every weighted component.

    Raises:
        InputError: the gradient at the best point is not zero to rounding (components that nearly coincide).
    """
    precisions = torch.linalg.inv(covs)
    x = _starts(means, precisions)
    for _ in range(_ROUNDS):
        before, x = x, _climb(means, precisions, log_joint, x)
        if float((x - before).abs().max()) <= 1e-14 * (1.0 + float(x.abs().max())):
            break
    best = x[log_joint(x).logsumexp(1).argmax()]
    for _ in range(20):
        best = _newton(means, precisions, log_joint, best)
    gradient, _ = _derivatives(means, precisions, log_joint, best)
    owner = int(log_joint(best[None]).argmax())
    worst = float((torch.linalg.cholesky(covs[owner]).T @ gradient).norm())
    if worst > _TOLERANCE:
        raise InputError("the mode of a mixture was not found", expected=f"gradient < {_TOLERANCE:g}", got=worst)
    return best


def _starts(means: Float[Tensor, "k d"], precisions: Float[Tensor, "k d d"]) -> Float[Tensor, "s d"]:
    pull = torch.einsum("kij,kj->ki", precisions, means)
    first, second = torch.triu_indices(len(pull), len(pull))
    return torch.linalg.solve(precisions[first] + precisions[second], pull[first] + pull[second])


def _climb(means: Tensor, precisions: Tensor, log_joint: LogJoint, x: Float[Tensor, "s d"]) -> Float[Tensor, "s d"]:
    share = log_joint(x).softmax(1)
    pull = torch.einsum("sk,kij,kj->si", share, precisions, means)
    return torch.linalg.solve(torch.einsum("sk,kij->sij", share, precisions), pull)


def _newton(means: Tensor, precisions: Tensor, log_joint: LogJoint, x: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    """Take the Newton step of the log density if it does not lower it."""
    gradient, hessian = _derivatives(means, precisions, log_joint, x)
    if float(torch.linalg.eigvalsh(hessian).max()) >= 0:
        return x
    ahead = x - torch.linalg.solve(hessian, gradient)
    both = torch.stack([x, ahead])
    value = log_joint(both).logsumexp(1)
    return ahead if float(value[1] - value[0]) >= -1e-13 * (1 + abs(float(value[0]))) else x


def _derivatives(
    means: Tensor, precisions: Tensor, log_joint: LogJoint, x: Float[Tensor, " d"]
) -> tuple[Tensor, Tensor]:
    """Return gradient and Hessian of the log density at x."""
    share = log_joint(x[None]).softmax(1)[0]
    slopes = torch.einsum("kij,kj->ki", precisions, means - x)
    gradient = share @ slopes
    spread = torch.einsum("k,ki,kj->ij", share, slopes, slopes) - gradient[:, None] * gradient
    return gradient, spread - torch.einsum("k,kij->ij", share, precisions)
