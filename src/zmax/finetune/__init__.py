"""Tuners: they move G's weights until its own samples score high."""

from zmax.core.tuner import tuners
from zmax.core.verbs import callable_room
from zmax.finetune.gradient.adjoint import Adjoint
from zmax.finetune.gradient.direct import Direct
from zmax.finetune.latents.noise import Noise
from zmax.finetune.latents.regression import NoiseRegression
from zmax.finetune.regression.ranked import Ranked

__all__ = ["Adjoint", "Direct", "Noise", "NoiseRegression", "Ranked"]

tuners.add("adjoint", "zmax.finetune.gradient.adjoint:Adjoint")
tuners.add("direct", "zmax.finetune.gradient.direct:Direct")
tuners.add("noise", "zmax.finetune.latents.noise:Noise")
tuners.add("noise-regression", "zmax.finetune.latents.regression:NoiseRegression")
tuners.add("ranked", "zmax.finetune.regression.ranked:Ranked")

callable_room(__name__)
