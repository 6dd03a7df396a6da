"""Samples of any generative model G that maximise any score S."""

from zmax import generators, guide, kit, natural, report, scores, search, testing
from zmax.core.block import Block
from zmax.core.budget import Budget, Ledger
from zmax.core.categorical import Categorical
from zmax.core.empirical import Empirical
from zmax.core.errors import ZmaxError
from zmax.core.generator import DiffusionGenerator, Generator
from zmax.core.methods import MethodInfo, methods
from zmax.core.priors import Uniform
from zmax.core.proposal import (
    Evaluation,
    Latents,
    PathPoints,
    Proposal,
    Pullback,
    Pushforward,
    SamplesAt,
    Unscored,
    Value,
)
from zmax.core.score import Score, maximum, minimum
from zmax.core.simplex import Simplex
from zmax.core.space import Space
from zmax.core.strategy import Gives, Need, Population, Strategy
from zmax.core.tuner import Tuner
from zmax.generators import generator, load_generator
from zmax.generators.diffusion.path import Path, PathSpace
from zmax.generators.diffusion.wrap import diffusion
from zmax.generators.flow_prior import FlowPrior
from zmax.generators.mixture import Mixture
from zmax.natural import realism
from zmax.results import Calibration, ConditionResult, Result, TuneResult, load_result
from zmax.run import finetune, maximize, resume, sample
from zmax.scores import load_score, score, set_score

__version__ = "0.1.0"

__all__ = [
    "Block",
    "Budget",
    "Calibration",
    "Categorical",
    "ConditionResult",
    "DiffusionGenerator",
    "Empirical",
    "Evaluation",
    "FlowPrior",
    "Generator",
    "Gives",
    "Latents",
    "Ledger",
    "MethodInfo",
    "Mixture",
    "Need",
    "Path",
    "PathPoints",
    "PathSpace",
    "Population",
    "Proposal",
    "Pullback",
    "Pushforward",
    "Result",
    "SamplesAt",
    "Score",
    "Simplex",
    "Space",
    "Strategy",
    "TuneResult",
    "Tuner",
    "Uniform",
    "Unscored",
    "Value",
    "ZmaxError",
    "diffusion",
    "finetune",
    "generator",
    "generators",
    "guide",
    "kit",
    "load_generator",
    "load_result",
    "load_score",
    "maximize",
    "maximum",
    "methods",
    "minimum",
    "natural",
    "realism",
    "report",
    "resume",
    "sample",
    "score",
    "scores",
    "search",
    "set_score",
    "testing",
]
