"""Every shipped score, wrapped callables and combinations through the suite that third parties inherit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from zmax.core.score import Score
from zmax.scores import load_score, score
from zmax.testing import ScoreConformance

SPECS = [
    "brightness",
    "colourfulness",
    "colour:#ff8800",
    "compressibility",
    "incompressibility",
    "0.7*brightness - colourfulness/100 + min(colour:tomato, -0.1)",
    "attribute:glasses",
    "attribute:hair-red",
    "attribute-judge:glasses",
    "critic:avatars",
]


def images(n: int = 6) -> Tensor:
    return 0.1 + 0.8 * torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class TestShipped(ScoreConformance):
    @pytest.fixture(autouse=True, params=SPECS)
    def _spec(self, request: pytest.FixtureRequest) -> None:
        self.spec = request.param

    def make(self) -> Score:
        return load_score(self.spec)

    def samples(self) -> Tensor:
        return images()


class TestTarget(ScoreConformance):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.file = tmp_path / "face.png"
        Image.fromarray((255 * images(1)[0]).byte().permute(1, 2, 0).numpy()).save(self.file)

    def make(self) -> Score:
        return load_score(f"target:{self.file}")

    def samples(self) -> Tensor:
        return images()


class TestModule(ScoreConformance):
    def make(self) -> Score:
        net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(768, 1), nn.Flatten(0))
        with torch.no_grad():
            net[2].weight.copy_(torch.linspace(-1, 1, 768)[None])
        return score(net, differentiable=True)

    def samples(self) -> Tensor:
        return images()


class TestNumpy(ScoreConformance):
    def make(self) -> Score:
        return score(lambda a: np.median(a, axis=(1, 2, 3)), numpy=True, timeout=60.0)

    def samples(self) -> Tensor:
        return images()


class TestStrings(ScoreConformance):
    def make(self) -> Score:
        return score(lambda text: text.count("C"), per_sample=True, bounds=(0.0, float("inf")))

    def samples(self) -> list[str]:
        return ["C", "CCO", "", "CC", "OCC"]
