"""Samples of any generative model G that maximise any score S.

Names are imported when they are first asked for, so that the command line answers `--help` without loading torch;
`__init__.pyi` tells type checkers what they are.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "Block": "zmax.core.space",
    "Budget": "zmax.core.budget",
    "DiffusionGenerator": "zmax.core.generator",
    "Evaluation": "zmax.core.strategy",
    "Generator": "zmax.core.generator",
    "Latents": "zmax.core.strategy",
    "Ledger": "zmax.core.budget",
    "MethodInfo": "zmax.run",
    "Path": "zmax.generators.diffusion.path",
    "PathSpace": "zmax.generators.diffusion.path",
    "Population": "zmax.core.strategy",
    "Pullback": "zmax.core.strategy",
    "Pushforward": "zmax.core.strategy",
    "Result": "zmax.run",
    "SamplesAt": "zmax.core.strategy",
    "Score": "zmax.core.score",
    "Space": "zmax.core.space",
    "Strategy": "zmax.core.strategy",
    "ZmaxError": "zmax.core.errors",
    "diffusion": "zmax.generators.diffusion.wrap",
    "generator": "zmax.generators",
    "load_generator": "zmax.generators",
    "load_result": "zmax.run",
    "load_score": "zmax.scores",
    "maximize": "zmax.run",
    "maximum": "zmax.core.score",
    "methods": "zmax.run",
    "minimum": "zmax.core.score",
    "resume": "zmax.run",
    "sample": "zmax.run",
    "score": "zmax.scores",
}

__all__ = [*_HOMES, "generators", "guide", "report", "scores", "search", "testing"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'zmax' has no attribute {name!r}")
    if name not in _HOMES:
        return import_module(f"zmax.{name}")
    return globals().setdefault(name, getattr(import_module(_HOMES[name]), name))


def __dir__() -> list[str]:
    return sorted(__all__)
