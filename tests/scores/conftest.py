from __future__ import annotations

import pytest
import torch


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def interior(rng: torch.Generator) -> torch.Tensor:
    """Float64 pictures well inside [0, 1], where every smooth score has ordinary derivatives."""
    return 0.1 + 0.8 * torch.rand(3, 3, 16, 16, generator=rng, dtype=torch.float64)
