"""The conformance of what searches categories."""

from __future__ import annotations

import torch

from zmax.core.categorical import Categorical
from zmax.core.space import Block, Space
from zmax.generators import generator
from zmax.scores import score
from zmax.search import Casmopolitan
from zmax.testing import StrategyConformance


class TestCasmopolitan(StrategyConformance):
    """Codes and two normal latents; the score is 0 at one combination of codes, and there at the origin alone."""

    claim = "maximum"
    rounds = 8
    seeds = 3

    def problem(self):
        wanted = torch.tensor([0, 2, 1, 1, 0, 2])
        space = Space((Block("a", (2,)), Block("code", (6,), Categorical(3, one_hot=False))))
        G = generator(lambda z: torch.cat([z["a"], z["code"]], 1), space=space, modality="vector")
        return G, score(lambda x: -(x[:, 2:] != wanted).sum(1) - x[:, :2].square().sum(1), name="S")

    def maximum(self):
        return 0.0

    def make(self):
        return Casmopolitan(batch=4)
