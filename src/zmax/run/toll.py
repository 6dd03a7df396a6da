"""The guard "natural": samples pay for being unusually rough among the generator's own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.budget import Ledger
from zmax.core.generator import Generator
from zmax.core.proposal import Proposal
from zmax.core.samples import Samples, count
from zmax.natural import Realism, realism
from zmax.natural.calibration import HIGHEST

FREE = 1.0
"""Standard score up to which nothing is paid: five of six draws of G."""

PRICE = 2.0
"""What a standard score beyond that costs, in standard deviations of the first scores."""


@dataclass(frozen=True)
class Toll:
    r"""What a method is told less than S: :math:`2 s \max(0, z(x) - 1)`, s the spread of the reference scores.

    What is recorded of a sample is its true score; but no sample of realism below 0.05 becomes a leader, the random
    ones apart. Points on a path and perturbed samples pay nothing.

    Attributes:
        natural: gives z.
        unit: s.
    """

    natural: Realism
    unit: float

    @property
    def dear(self) -> float:
        """The toll of a sample whose realism is 0.05."""
        return PRICE * self.unit * (HIGHEST - FREE)

    def of(self, proposal: Proposal, samples: Samples, ledger: Ledger) -> Float[Tensor, " n"] | None:
        """Return what samples pay that can become the run's best, each as it is shown; charge what no hook sees."""
        if proposal.u is None or count(samples) != len(proposal):
            return None
        ledger.realism_nfe += self.natural.unmetered(len(proposal))
        toll = PRICE * self.unit * (self.natural.z(samples) - FREE).clamp_min(0)
        return torch.where(torch.isfinite(toll), toll, 0.0)


def toll_of(generator: Generator, reference: Float[Tensor, " n"]) -> Toll:
    """Return the toll for a generator, in units of the reference batch's scores; a companion is trained if need be.

    Raises:
        CapabilityError: G makes neither images nor vectors.
    """
    spread = float(reference[torch.isfinite(reference)].double().std())
    return Toll(realism(generator), spread if 0 < spread < float("inf") else 1.0)
