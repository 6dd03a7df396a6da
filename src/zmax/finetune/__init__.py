"""Tuners: they move G's weights until its own samples score high."""

from zmax.core.tuner import tuners
from zmax.core.verbs import callable_room
from zmax.finetune.gradient.adjoint import Adjoint
from zmax.finetune.gradient.direct import Direct
from zmax.finetune.gradient.presets import AlignProp, DRaFT
from zmax.finetune.gradient.refl import ReFL
from zmax.finetune.latents.noise import Noise
from zmax.finetune.latents.regression import NoiseRegression
from zmax.finetune.latents.seiko import SEIKO
from zmax.finetune.policy.ddpo import DDPO
from zmax.finetune.policy.grpo import GRPO
from zmax.finetune.regression.awm import AWM
from zmax.finetune.regression.crd import CRD
from zmax.finetune.regression.distil import Distil
from zmax.finetune.regression.nft import NFT
from zmax.finetune.regression.ranked import Ranked

__all__ = [
    "AWM",
    "CRD",
    "DDPO",
    "GRPO",
    "NFT",
    "SEIKO",
    "Adjoint",
    "AlignProp",
    "DRaFT",
    "Direct",
    "Distil",
    "Noise",
    "NoiseRegression",
    "Ranked",
    "ReFL",
]

tuners.add("adjoint", "zmax.finetune.gradient.adjoint:Adjoint")
tuners.add("alignprop", "zmax.finetune.gradient.presets:AlignProp")
tuners.add("awm", "zmax.finetune.regression.awm:AWM")
tuners.add("crd", "zmax.finetune.regression.crd:CRD")
tuners.add("ddpo", "zmax.finetune.policy.ddpo:DDPO")
tuners.add("direct", "zmax.finetune.gradient.direct:Direct")
tuners.add("distil", "zmax.finetune.regression.distil:Distil")
tuners.add("draft-k", "zmax.finetune.gradient.presets:DRaFT")
tuners.add("grpo", "zmax.finetune.policy.grpo:GRPO")
tuners.add("nft", "zmax.finetune.regression.nft:NFT")
tuners.add("noise", "zmax.finetune.latents.noise:Noise")
tuners.add("noise-regression", "zmax.finetune.latents.regression:NoiseRegression")
tuners.add("ranked", "zmax.finetune.regression.ranked:Ranked")
tuners.add("refl", "zmax.finetune.gradient.refl:ReFL")
tuners.add("seiko", "zmax.finetune.latents.seiko:SEIKO")

callable_room(__name__)
