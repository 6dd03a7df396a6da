"""Measures the shipped weights on held-out data: `python -m zoo.evaluate` prints a table, writes cards and grids."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from zmax.scores import zoo as judges
from zoo import cards, data, designs, sampling, training
from zoo.train_attribute import accuracy

NEIGHBOURS = 5
SAMPLES = 4000
SEED = 97
DOCS = training.SOURCE.parent.parent / "docs" / "zoo"

DRAWS: dict[str, tuple[str, Callable[[int], Tensor]]] = {
    "avatars-gan": ("avatars-gan", lambda n: sampling.samples("avatars-gan", n, SEED)),
    "avatars-flow, 50 steps": ("avatars-flow", lambda n: sampling.samples("avatars-flow", n, SEED, steps=50)),
    "avatars-flow, 8 steps": ("avatars-flow", lambda n: sampling.samples("avatars-flow", n, SEED, steps=8)),
    "avatars-vae": ("avatars-vae", lambda n: sampling.samples("avatars-vae", n, SEED)),
}


def radii(features: Tensor) -> Tensor:
    """Distance of each point to its fifth nearest other point."""
    return torch.cdist(features, features).kthvalue(NEIGHBOURS + 1, dim=1).values


def precision_recall(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Share of fakes inside a real's k-nearest-neighbour ball, and of reals inside a fake's.

    Kynkäänniemi et al. 2019, eq. 1-3, https://arxiv.org/abs/1904.06991.
    """
    distances = torch.cdist(fake, real)
    precision = (distances <= radii(real)).any(1).float().mean()
    recall = (distances.mT <= radii(fake)).any(1).float().mean()
    return precision.item(), recall.item()


@torch.no_grad()
def frequencies(judge: Any, images: Tensor) -> dict[str, float]:
    """How often the judge sees each label."""
    answers = torch.cat([judge.heads.predict(judge(part)) for part in images.split(500)])
    out: dict[str, float] = {}
    for column, group in enumerate(judge.heads.groups):
        for index, label in enumerate(group):
            out[label] = (answers[:, column] == (1 if len(group) == 1 else index)).float().mean().item()
    return out


@torch.no_grad()
def features(judge: Any, images: Tensor) -> Tensor:
    """The judge's features of many images."""
    return torch.cat([judge.features(part) for part in images.split(500)])


def measure_generator(judge: Any, real: Tensor, fake: Tensor) -> dict[str, Any]:
    """Precision, recall, and the largest gap of a label's frequency, in points."""
    precision, recall = precision_recall(features(judge, real), features(judge, fake))
    truth, seen = frequencies(judge, real), frequencies(judge, fake)
    gaps = {label: 100 * (seen[label] - truth[label]) for label in truth}
    worst = max(gaps, key=lambda label: abs(gaps[label]))
    return {
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "largest label gap (points)": round(abs(gaps[worst]), 2),
        "label with the largest gap": worst,
        "label gaps (points)": {label: round(gap, 2) for label, gap in gaps.items()},
    }


def measure_reader(name: str, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Held-out accuracy of a classifier, head by head and on average."""
    shares = accuracy(judges.load(name), images, labels).tolist()
    heads = {head.name: round(share, 5) for head, share in zip(designs.HEADS, shares, strict=True)}
    return {
        "mean accuracy": round(sum(shares) / len(shares), 5),
        "worst accuracy": round(min(shares), 5),
        "accuracy": heads,
    }


@torch.no_grad()
def measure_critic(real: Tensor) -> dict[str, Any]:
    """How often the critic ranks a held-out picture above a sample: the area under the ROC curve of each generator."""
    critic = judges.load("critic")
    n = SAMPLES // 4
    noise = torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(SEED))
    fakes = {title: draw(n) for title, (_, draw) in DRAWS.items()}
    fakes["held-out pictures with noise of 0.1"] = (real[:n] + 0.1 * noise).clamp(0, 1)
    on_real = critic(real[n : 2 * n])
    areas = {title: (on_real[:, None] > critic(fake)[None]).float().mean().item() for title, fake in fakes.items()}
    return {"ranks real above": {title: round(area, 4) for title, area in areas.items()}}


def _available(name: str) -> bool:
    return (training.folder(name) / "weights" / f"{name}.safetensors").exists()


def show(quality: dict[str, dict[str, Any]]) -> None:
    """The table on the terminal."""
    table = Table("what", "figure", "value", title="zoo, on held-out data")
    for name, figures in quality.items():
        for figure, value in figures.items():
            if not isinstance(value, dict):
                table.add_row(name, figure, str(value))
            elif "gaps" not in figure:
                table.add_row(name, figure, ", ".join(f"{key} {number}" for key, number in value.items()))
    Console(width=140).print(table)


def measure(only: str) -> dict[str, dict[str, Any]]:
    """Figures of what has weights and bears `only` in its name, by title; draws the grids too."""
    images, labels = training.tensors(data.load("held-out"))
    judge = judges.load("attribute-judge")
    quality: dict[str, dict[str, Any]] = {}
    for name in ("attribute", "attribute-judge"):
        if only in name:
            quality[name] = measure_reader(name, images, labels)
    reference = training.tensors(data.load("judge"))[0][:SAMPLES]
    quality["real pictures, for scale"] = measure_generator(judge, images, reference)
    for title, (name, draw) in DRAWS.items():
        if _available(name) and only in title:
            fake = draw(SAMPLES)
            quality[title] = measure_generator(judge, images, fake)
            sampling.save_grid(fake[:64], DOCS / f"{title.replace(', ', '-').replace(' ', '-')}.png")
    sampling.save_grid(images[:64], DOCS / "avatars-data.png")
    if _available("critic") and only in "critic":
        quality["critic"] = measure_critic(images)
    return quality


def main() -> None:
    """Measures, adds to what was measured before, prints, and writes the cards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a part of the name of what to measure, such as gan")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    path = data.BUILD / "quality.json"
    quality = json.loads(path.read_text()) if only and path.exists() else {}
    quality |= measure(only)
    show(quality)
    path.write_text(json.dumps(quality, indent=1))
    cards.write(quality)


if __name__ == "__main__":
    main()
