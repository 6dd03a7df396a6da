"""Samples of any generative model G that maximise any score S."""

from zmax import generators, guide, report, scores, search, testing
from zmax.core.budget import Budget, Ledger
from zmax.core.errors import ZmaxError
from zmax.core.generator import DiffusionGenerator, Generator
from zmax.core.score import Score, maximum, minimum
from zmax.core.space import Block, Space
from zmax.core.strategy import Evaluation, Latents, Population, Pullback, Pushforward, SamplesAt, Strategy
from zmax.generators import generator, load_generator
from zmax.generators.diffusion.path import Path, PathSpace
from zmax.generators.diffusion.wrap import diffusion
from zmax.run import MethodInfo, Result, load_result, maximize, methods, resume, sample
from zmax.scores import load_score, score

__version__ = "0.1.0"

__all__ = [
    "Block",
    "Budget",
    "DiffusionGenerator",
    "Evaluation",
    "Generator",
    "Latents",
    "Ledger",
    "MethodInfo",
    "Path",
    "PathSpace",
    "Population",
    "Pullback",
    "Pushforward",
    "Result",
    "SamplesAt",
    "Score",
    "Space",
    "Strategy",
    "ZmaxError",
    "diffusion",
    "generator",
    "generators",
    "guide",
    "load_generator",
    "load_result",
    "load_score",
    "maximize",
    "maximum",
    "methods",
    "minimum",
    "report",
    "resume",
    "sample",
    "score",
    "scores",
    "search",
    "testing",
]
