"""Shipped judges of avatars: networks, weights and cards.

Names: `attribute` (residual network), `attribute-judge` (MLP-mixer, held out), `critic` (realism).
"""

from __future__ import annotations

from pathlib import Path

from zmax.core.shelf import Shelf
from zmax.scores.zoo.classifier import AttributeNet
from zmax.scores.zoo.critic import Critic
from zmax.scores.zoo.heads import Heads
from zmax.scores.zoo.judge import AttributeJudge

NETWORKS = {"attribute": AttributeNet, "attribute-judge": AttributeJudge, "critic": Critic}
SHELF = Shelf(Path(__file__).parent, NETWORKS)
load, card = SHELF.load, SHELF.card

__all__ = ["NETWORKS", "SHELF", "AttributeJudge", "AttributeNet", "Critic", "Heads", "card", "load"]
