"""Exact problems, whose answers are known in closed form, and conformance suites that third parties inherit."""

from zmax.testing.cloud import CloudGenerator, PointCloud, TiltedCloud, point_cloud
from zmax.testing.driver import Trace, drive
from zmax.testing.generator_suite import GeneratorConformance
from zmax.testing.linear import LinearGaussian, TiltedLinear, linear_gaussian
from zmax.testing.mixture import GaussianMixture, TiltedMixture, gaussian_mixture
from zmax.testing.mixture_generator import MixtureGenerator
from zmax.testing.path_suite import PathConformance
from zmax.testing.quadratic import QuadraticScore, quadratic_score
from zmax.testing.score_suite import ScoreConformance
from zmax.testing.shapes import ring, swiss_roll
from zmax.testing.strategy_suite import StrategyConformance
from zmax.testing.tiny_clip import tiny_clip
from zmax.testing.tiny_diffusers import tiny_pipeline
from zmax.testing.trained import trained

__all__ = [
    "CloudGenerator",
    "GaussianMixture",
    "GeneratorConformance",
    "LinearGaussian",
    "MixtureGenerator",
    "PathConformance",
    "PointCloud",
    "QuadraticScore",
    "ScoreConformance",
    "StrategyConformance",
    "TiltedCloud",
    "TiltedLinear",
    "TiltedMixture",
    "Trace",
    "drive",
    "gaussian_mixture",
    "linear_gaussian",
    "point_cloud",
    "quadratic_score",
    "ring",
    "swiss_roll",
    "tiny_clip",
    "tiny_pipeline",
    "trained",
]
