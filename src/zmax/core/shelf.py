"""Shipped networks: safetensors whose metadata hold the constructor's arguments, and a card beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn


@dataclass(frozen=True)
class Shelf:
    """A folder of shipped networks: `weights/NAME.safetensors` and `cards/NAME.json`.

    Attributes:
        folder: where they lie.
        networks: class of each, by name.
    """

    folder: Path
    networks: Mapping[str, type[nn.Module]]

    def load(self, name: str) -> nn.Module:
        """Return the network with its weights: float32, on the CPU, in evaluation mode, its weights frozen.

        Raises:
            KeyError: there is no such network.
            FileNotFoundError: its weights are not in the installation.
        """
        with safe_open(self.folder / "weights" / f"{name}.safetensors", framework="pt") as file:
            arguments = json.loads(file.metadata()["arguments"])
            weights = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - not a mapping
        network = self.networks[name](**arguments)
        network.load_state_dict(weights)
        return network.eval().requires_grad_(False)

    def card(self, name: str) -> dict[str, Any]:
        """Return what the network is: data, licence, architecture, training, measured quality."""
        out: dict[str, Any] = json.loads((self.folder / "cards" / f"{name}.json").read_text(encoding="utf-8"))
        return out
