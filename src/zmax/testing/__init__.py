"""Exact problems, whose answers are known in closed form, and conformance suites that third parties inherit."""

from zmax.testing.driver import Trace, drive
from zmax.testing.generator_suite import GeneratorConformance
from zmax.testing.linear import LinearGaussian, TiltedLinear, linear_gaussian
from zmax.testing.mixture import GaussianMixture, TiltedMixture, gaussian_mixture
from zmax.testing.mixture_generator import MixtureGenerator
from zmax.testing.quadratic import QuadraticScore, quadratic_score
from zmax.testing.score_suite import ScoreConformance
from zmax.testing.strategy_suite import StrategyConformance
from zmax.testing.tiny_clip import tiny_clip

__all__ = [
    "GaussianMixture",
    "GeneratorConformance",
    "LinearGaussian",
    "MixtureGenerator",
    "QuadraticScore",
    "ScoreConformance",
    "StrategyConformance",
    "TiltedLinear",
    "TiltedMixture",
    "Trace",
    "drive",
    "gaussian_mixture",
    "linear_gaussian",
    "quadratic_score",
    "tiny_clip",
]
