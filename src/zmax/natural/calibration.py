"""What the denoising errors of a generator's own draws look like, and how far from that a sample's are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.natural.denoising import mean_square

ABOVE = 0.8
"""Share of false alarms that is spent on errors too large; the rest on errors too small."""

HIGHEST = 1.7507
"""z of a realism of 0.05, on the side of errors too large."""

POWERS = torch.linspace(0.0, 2.0, 81)
"""Beyond these the transform is bounded, and so would p-values be."""


@dataclass(frozen=True)
class Calibration:
    r"""How to read the errors of one sample.

    .. math:: q_\ell = \frac{\log |\bar r_\ell - c_\ell|^2 - b_\ell v_\ell - m_\ell}{s_\ell}, \qquad
              z = \frac{\psi_\lambda(\max_\ell q_\ell) - \mu}{\sigma}

    The constants are those of G's own draws: c the error they have in common, b the slope of the first logarithm on
    the second (a busy sample has larger errors of both kinds), m and s mean and standard deviation. :math:`\psi` is
    the power transform under which z is closest to normal, so that p-values have a smooth tail beyond one draw in n.

    Reference: Yeo and Johnson 2000, *A new family of power transformations to improve normality or symmetry*,
    https://doi.org/10.1093/biomet/87.4.954.

    Attributes:
        centre: c at each level.
        slope, mean, std: b, m and s.
        law: lambda, mu, sigma.
    """

    centre: Float[Tensor, "levels ..."]
    slope: Float[Tensor, " levels"]
    mean: Float[Tensor, " levels"]
    std: Float[Tensor, " levels"]
    law: Float[Tensor, " three"]

    def z(self, shared: list[Tensor], differ: Float[Tensor, "n levels"]) -> Float[Tensor, " n"]:
        """Return the standard score of each sample, nearly N(0, 1) on G's own draws."""
        size = torch.stack([mean_square(r - c.to(r)).log() for r, c in zip(shared, self.centre, strict=True)], 1)
        q = (size - self.slope.to(size) * differ - self.mean.to(size)) / self.std.to(size)
        power, mu, sigma = self.law.tolist()
        return (yeo_johnson(q.amax(1).double(), power) - mu) / sigma


def calibrated(
    shared: list[Float[Tensor, "n ..."]], differ: Float[Tensor, "n levels"], slopes: bool = True
) -> Calibration:
    """Return the calibration by these draws' errors, with b = 0 where it is to have no slopes."""
    centre = torch.stack([r.mean(0) for r in shared])
    size = torch.stack([mean_square(r - c).log() for r, c in zip(shared, centre, strict=True)], 1)
    around = differ - differ.mean(0)
    slope = ((size - size.mean(0)) * around).mean(0) / around.square().mean(0).clamp_min(1e-12) * slopes
    left = size - slope * differ
    mean, std = left.mean(0), left.std(0).clamp_min(1e-6)
    worst = ((left - mean) / std).amax(1).double()
    power = float(POWERS[torch.stack([_likelihood(worst, float(p)) for p in POWERS]).argmax()])
    y = yeo_johnson(worst, power)
    sigma = y.std() * (1 + 1 / len(y)) ** 0.5
    return Calibration(centre, slope, mean, std, torch.stack([torch.tensor(power).to(y), y.mean(), sigma]).cpu())


def yeo_johnson(x: Float[Tensor, " n"], power: float) -> Float[Tensor, " n"]:
    r"""Return the power transform of Yeo and Johnson, equation 2.1.

    Example:
        >>> yeo_johnson(torch.tensor([-1.0, 0.0, 3.0]), 1.0).tolist(), yeo_johnson(torch.tensor([3.0]), 0.5).tolist()
        ([-1.0, 0.0, 3.0], [2.0])
    """
    up, down = x.clamp_min(0), -x.clamp_max(0)
    above = torch.log1p(up) if abs(power) < 1e-6 else ((1 + up) ** power - 1) / power
    other = 2 - power
    below = torch.log1p(down) if abs(other) < 1e-6 else ((1 + down) ** other - 1) / other
    return torch.where(x >= 0, above, -below)


def two_sided(z: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return p-values that spend four fifths of their false alarms above, the rest below.

    Example:
        >>> two_sided(torch.tensor([-0.8416, 1.9, -3.0, 40.0]).double()).round(decimals=3).tolist()
        [1.0, 0.036, 0.007, 0.0]
    """
    above, below = torch.special.ndtr(-z) / ABOVE, torch.special.ndtr(z) / (1 - ABOVE)
    return torch.minimum(above, below).clamp(max=1.0)


def _likelihood(x: Float[Tensor, " n"], power: float) -> Tensor:
    """Return the profile log likelihood of a power (equation 3.1)."""
    spread = yeo_johnson(x, power).var(correction=0).clamp_min(1e-20)
    return -len(x) / 2 * spread.log() + (power - 1) * (x.sign() * x.abs().log1p()).sum()
