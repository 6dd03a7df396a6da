"""Shipped judges of avatars: networks, weights and cards.

Names: `attribute` (residual network), `attribute-judge` (MLP-mixer, held out), `critic` (realism).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn

from zmax.scores.zoo.classifier import AttributeNet
from zmax.scores.zoo.critic import Critic
from zmax.scores.zoo.heads import Heads
from zmax.scores.zoo.judge import AttributeJudge

NETWORKS: dict[str, type[nn.Module]] = {"attribute": AttributeNet, "attribute-judge": AttributeJudge, "critic": Critic}

__all__ = ["AttributeJudge", "AttributeNet", "Critic", "Heads", "card", "load"]

_HERE = Path(__file__).parent


def load(name: str) -> nn.Module:
    """The network with its shipped weights: float32, on the CPU, in eval mode, without gradients of the weights.

    Args:
        name: A key of `NETWORKS`.

    Raises:
        KeyError: No such network.
        FileNotFoundError: Its weights are not in the installation.
    """
    with safe_open(_HERE / "weights" / f"{name}.safetensors", framework="pt") as file:
        arguments = json.loads(file.metadata()["arguments"])
        weights = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    network = NETWORKS[name](**arguments)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def card(name: str) -> dict[str, Any]:
    """What `load(name)` is: data, licence, architecture, training, measured quality."""
    out: dict[str, Any] = json.loads((_HERE / "cards" / f"{name}.json").read_text(encoding="utf-8"))
    return out
