"""Samples of any generative model G that maximise any score S.

Names are imported when they are first asked for, so that the command line answers `--help` without loading torch;
`__init__.pyi` tells type checkers what they are.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "Block": "zmax.core.block",
    "Budget": "zmax.core.budget",
    "Categorical": "zmax.core.categorical",
    "DiffusionGenerator": "zmax.core.generator",
    "Empirical": "zmax.core.empirical",
    "Evaluation": "zmax.core.proposal",
    "FlowPrior": "zmax.generators.flow_prior",
    "Generator": "zmax.core.generator",
    "Gives": "zmax.core.strategy",
    "Latents": "zmax.core.proposal",
    "Ledger": "zmax.core.budget",
    "MethodInfo": "zmax.core.methods",
    "Mixture": "zmax.generators.mixture",
    "Need": "zmax.core.strategy",
    "Path": "zmax.generators.diffusion.path",
    "PathPoints": "zmax.core.proposal",
    "PathSpace": "zmax.generators.diffusion.path",
    "Population": "zmax.core.strategy",
    "Proposal": "zmax.core.proposal",
    "Pullback": "zmax.core.proposal",
    "Pushforward": "zmax.core.proposal",
    "Result": "zmax.results",
    "SamplesAt": "zmax.core.proposal",
    "Score": "zmax.core.score",
    "Simplex": "zmax.core.simplex",
    "Space": "zmax.core.space",
    "Strategy": "zmax.core.strategy",
    "Unscored": "zmax.core.proposal",
    "Value": "zmax.core.proposal",
    "ZmaxError": "zmax.core.errors",
    "Tuner": "zmax.core.tuner",
    "Uniform": "zmax.core.priors",
    "Calibration": "zmax.results",
    "ConditionResult": "zmax.results",
    "TuneResult": "zmax.results",
    "diffusion": "zmax.generators.diffusion.wrap",
    "generator": "zmax.generators",
    "load_generator": "zmax.generators",
    "load_result": "zmax.results",
    "load_score": "zmax.scores",
    "maximize": "zmax.run",
    "maximum": "zmax.core.score",
    "methods": "zmax.core.methods",
    "minimum": "zmax.core.score",
    "realism": "zmax.natural",
    "resume": "zmax.run",
    "sample": "zmax.run",
    "score": "zmax.scores",
    "set_score": "zmax.scores",
}

__all__ = [
    *_HOMES,
    *("condition", "finetune", "generators", "guide", "kit", "natural", "report", "scores", "search", "testing"),
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'zmax' has no attribute {name!r}")
    if name not in _HOMES:
        return import_module(f"zmax.{name}")
    return globals().setdefault(name, getattr(import_module(_HOMES[name]), name))


def __dir__() -> list[str]:
    return sorted(__all__)
