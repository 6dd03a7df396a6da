"""The samples of an evaluation as one tensor, for methods that reason in sample space."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from zmax.core.errors import CapabilityError
from zmax.core.proposal import Evaluation
from zmax.core.samples import describe


def sample_rows(evaluation: Evaluation) -> tuple[Tensor, Bool[Tensor, " n"]]:
    """Return the samples that can be used, (k, ...) on the CPU, and which rows they are.

    A row is used if it did not fail and its sample is a finite tensor.

    Raises:
        CapabilityError: samples that did not fail are not tensors.
    """
    samples, ok = evaluation.samples, evaluation.ok.clone()
    if samples is None or not bool(ok.any()):
        return torch.zeros(0), torch.zeros_like(ok)
    if not isinstance(samples, Tensor):
        alive = [samples[i] for i in ok.nonzero().flatten().tolist()]
        if not all(isinstance(sample, Tensor) for sample in alive):
            raise CapabilityError("samples to perturb", expected="floating-point tensors", got=describe(alive[0]))
        kept = torch.stack([sample.detach().cpu() for sample in alive])
    else:
        kept = samples.detach().cpu()[ok]
    finite = torch.isfinite(kept.flatten(1)).all(1)
    ok[ok.clone()] = finite
    return kept[finite], ok
