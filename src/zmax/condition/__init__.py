"""Methods that train G(x | s): an ordinary generator that is asked for the score its samples should have."""

from zmax.condition.flow import Flow
from zmax.condition.gan import GAN
from zmax.condition.native import Native
from zmax.condition.noise_map import NoiseMap
from zmax.condition.regressor import RegressorGuidance
from zmax.condition.vae import VAE
from zmax.core.tuner import conditioners
from zmax.core.verbs import callable_room

__all__ = ["GAN", "VAE", "Flow", "Native", "NoiseMap", "RegressorGuidance"]

conditioners.add("flow", "zmax.condition.flow:Flow")
conditioners.add("gan", "zmax.condition.gan:GAN")
conditioners.add("native", "zmax.condition.native:Native")
conditioners.add("noise-map", "zmax.condition.noise_map:NoiseMap")
conditioners.add("regressor-guidance", "zmax.condition.regressor:RegressorGuidance")
conditioners.add("vae", "zmax.condition.vae:VAE")

callable_room(__name__)
