"""Shipped generators of 16x16 avatars: networks, weights and cards.

Names: `avatars-gan`, `avatars-flow`, `avatars-vae`.
"""

from __future__ import annotations

from pathlib import Path

from zmax.core.shelf import Shelf
from zmax.generators.zoo.flow import AvatarFlow
from zmax.generators.zoo.gan import AvatarGAN
from zmax.generators.zoo.vae import AvatarVAE

NETWORKS = {"avatars-gan": AvatarGAN, "avatars-flow": AvatarFlow, "avatars-vae": AvatarVAE}
SHELF = Shelf(Path(__file__).parent, NETWORKS)
load, card = SHELF.load, SHELF.card

__all__ = ["NETWORKS", "SHELF", "AvatarFlow", "AvatarGAN", "AvatarVAE", "card", "load"]
