"""Resolve what the user named into what a run works on, and refuse early what cannot work."""

from __future__ import annotations

import inspect
from typing import Any

from zmax.core.checks import categories, few
from zmax.core.errors import CapabilityError, InputError
from zmax.core.generator import DiffusionGenerator, Generator
from zmax.core.goals import Goals
from zmax.core.imports import load_attribute, loaded_files
from zmax.core.methods import build, registry
from zmax.core.registry import Registry
from zmax.core.score import Score
from zmax.core.setting import NATURAL, PENALISE, RETRACT
from zmax.core.settings import AND
from zmax.core.strategy import Gives, Need, Strategy
from zmax.core.tuner import Tuner, conditioners, tuners
from zmax.generators import load_generator
from zmax.generators.diffusers.adapter import OfPipeline
from zmax.generators.diffusion.path import has_path
from zmax.generators.sets import Sets
from zmax.kit.forward import has_ends
from zmax.kit.penalised import Penalised
from zmax.kit.retracted import Retracted
from zmax.kit.scalarised import Scalarised
from zmax.results.spec import RunSpec
from zmax.scores import load_score, score
from zmax.scores.several import several

AUTO = "auto"

Method = Strategy[Any] | Tuner[Any]

HOLDING = (RETRACT, NATURAL)
"""Guards that hold points back."""

LOCAL = "__main__"
"""A module that means something in one program only, as those of files do that were loaded by path."""


def as_generator(generator: object) -> Generator:
    """Load a generator by specification, or return it as it is.

    Raises:
        InputError: it is neither.
    """
    if isinstance(generator, str):
        return load_generator(generator)
    if isinstance(generator, Generator):
        return generator
    remedy = "wrap it: zmax.generator(fn, shape=(100,))"
    if hasattr(generator, "scheduler") and hasattr(generator, "components"):
        remedy = "wrap the pipeline: zmax.generators.from_diffusers(pipe, prompt=...)"
    raise InputError("generator", expected="a Generator or its name", got=type(generator).__name__, remedy=remedy)


def parts(
    generator: object, score: Any, held_out: Any, *, plain: bool = False, front: bool = False
) -> tuple[Generator, Score, Score | None]:
    """Return the generator, the score, a plain one if constraints cannot be met, and the held-out score of a run.

    With `front` the score may have several goals.
    """
    g, s = as_generator(generator), as_score(score)
    if s.goals is not None and not front:
        remedy = "zmax.maximize(G, [A, B]) finds their front; elsewhere take one number: 0.7*A + 0.3*B"
        raise CapabilityError(f"the score {s.name!r}", expected="one number a sample", got="goals", remedy=remedy)
    s = plain_one(s, "a score of all samples, as weights make all of them") if plain else s
    h = None if held_out is None else judging(as_score(held_out), s)
    g = of_sets(g, s)
    if s.latents:
        remedy = "zmax.score(lambda x: ..., ...).where(B >= 0.5)"
        raise InputError(f"the score {s.name!r} of latents as S", expected="a score of samples", remedy=remedy)
    return g, told(s, g), None if h is None else told(h, g)


def plain_one(score: Score, why: str) -> Score:
    """Return a score of samples one by one, of one number, without constraints.

    Raises:
        CapabilityError: it is another.
    """
    remedy = "constraints are for `maximize` and `sample`; elsewhere take a penalty off S, or S alone"
    if score.goals is not None or score.size > 1:
        remedy = "several goals, and scores of sets, are for `maximize`; elsewhere take a weighted sum of scores"
    got = "goals" if score.goals else "one of sets" if score.size > 1 else "constraints"
    if score.constraints or score.latents or score.goals is not None or score.size > 1:
        raise CapabilityError(f"the score {score.name!r}", expected=why, got=got, remedy=remedy)
    return score


def judging(held_out: Score, score: Score) -> Score:
    """Return a held-out score for the samples of a run of another.

    Raises:
        CapabilityError: it cannot judge them.
    """
    if held_out.size == 1 == score.size or held_out.size != score.size:
        held_out = plain_one(held_out, "a held-out score judges all samples alike")
    if held_out.size != score.size:
        expected = f"a score of sets of {score.size}, which {score.name!r} makes the samples of this run"
        remedy = "zmax.set_score(fn, k)"
        raise CapabilityError(f"the held-out score {held_out.name!r}", expected=expected, remedy=remedy)
    return held_out


def of_sets(generator: Generator, score: Score) -> Generator:
    """Return the generator of what a score judges: samples, or sets of them."""
    return generator if score.size == generator.size else Sets(generator, score.size)


def as_score(given: Any) -> Score:
    """Load a score by specification, wrap a callable, or return a Score as it is; several are the goals of one run."""
    if isinstance(given, str):
        given = given.split(AND)
    if isinstance(given, (list, tuple)):
        return several([load_score(one) if isinstance(one, str) else score(one) for one in given])
    return score(given)


def told(score: Score, generator: Generator) -> Score:
    """Return a score that knows the prompt of the generator where it asks for it.

    Raises:
        InputError: the generator has none, or several.
    """
    if not score.prompted:
        return score
    if len(generator.prompts) != 1:
        raise InputError(
            f"the score {score.name!r} asks for the prompt that samples are made of",
            expected=f"one prompt of {generator.name!r}",
            got=f"{len(generator.prompts)}, of which latents choose" if generator.prompts else "none",
            remedy="zmax.generators.from_diffusers(pipe, prompt=...), one generator a prompt",
        )
    return score.told(generator.prompts[0])


def as_strategy(method: object, params: dict[str, Any], guard: str = RETRACT) -> Strategy[Any]:
    """Construct the method of that name (or "module:Class"), or return an instance as it is.

    Under another guard than its own retraction, a method that retracts by itself is constructed without it.

    Raises:
        InputError: the name, or an argument of the constructor, is not known; or an instance retracts, and should not.
    """
    expected = "the name of a method, or an instance such as zmax.search.CMA()"
    if isinstance(method, Strategy):
        if params:
            raise InputError("params beside a method that is an instance", remedy="give them to its constructor")
        if guard not in HOLDING and _retracts(method):
            name = type(method).__name__
            raise InputError(f"guard={guard!r} beside a {name} that retracts", remedy=f"{name}(retract=False)")
        return method
    if not isinstance(method, str):
        raise InputError("method", expected=expected, got=repr(method))
    kind = load_attribute(method) if ":" in method else registry.load(method)
    if not (isinstance(kind, type) and issubclass(kind, Strategy)):
        raise InputError(f"{method!r} is not a method", expected=f"{expected}, or a class", got=type(kind).__name__)
    if guard not in HOLDING and Gives.RETRACTION in kind.gives:
        params = {**params, RETRACT: False}
    return build(kind, method, params)


def as_tuner(method: object, params: dict[str, Any], table: Registry[type[Tuner[Any]]] = tuners) -> Tuner[Any]:
    """Construct the tuner of that name (or "module:Class"), or return an instance as it is.

    Raises:
        InputError: the name, or an argument of the constructor, is not known; or it is a method that searches.
    """
    expected = f"the name of a {table.kind} ({', '.join(table)}), or an instance"
    if isinstance(method, Tuner):
        if params:
            raise InputError("params beside a tuner that is an instance", remedy="give them to its constructor")
        return method
    if not isinstance(method, str):
        raise InputError("method", expected=expected, got=repr(method))
    kind = load_attribute(method) if ":" in method else table.load(method)
    if not (isinstance(kind, type) and issubclass(kind, Tuner)):
        raise InputError(f"{method!r} is not a tuner", expected=expected, got=type(kind).__name__)
    return build(kind, method, params)


def guarded(strategy: Strategy[Any], spec: RunSpec, goals: Goals | None = None) -> Strategy[Any]:
    """Return the method inside what the guard puts around it, and where there are several goals over all of them."""
    if spec.guard == PENALISE:
        strategy = Penalised(strategy=strategy)
    elif held(spec.verb, spec.guard) and not _retracts(strategy):
        strategy = Retracted(strategy=strategy)
    return strategy if goals is None else Scalarised(strategy=strategy, goals=goals)


def held(verb: str, guard: str) -> bool:
    """Say whether points are moved back to where they are plausible; draws of a law are never moved."""
    return guard in HOLDING and verb != "sample"


def _retracts(strategy: Strategy[Any]) -> bool:
    """Say whether the method keeps to the typical shell by itself."""
    return Gives.RETRACTION in strategy.gives and bool(getattr(strategy, RETRACT))


def steered(strategy: Method, generator: Generator) -> Generator:
    """Return the generator as the method uses it: with fresh noise on its path where that is what the method steers.

    Raises:
        CapabilityError: the method steers a path, or trains an encoder, and the generator has none, or it has too many
            latent dimensions.
    """
    if Need.ENCODER in strategy.needs and generator.encoder is None:
        raise CapabilityError(
            f"{method_name(strategy)!r} trains a variational autoencoder, and {generator.name!r} has no encoder",
            expected="zmax.generator(decoder, shape=..., encoder=...)",
            remedy="choose 'noise-map', or 'auto'",
        )
    if Need.ASKABLE in strategy.needs and not (isinstance(generator, OfPipeline) and generator.askable):
        raise CapabilityError(
            f"{method_name(strategy)!r} asks a pipeline by its own argument, and {generator.name!r} takes none",
            expected="a pipeline with aesthetic_score that requires it, such as SDXL's refiner",
            remedy="train it to be asked: choose 'auto'",
        )
    if Need.CATEGORIES in strategy.needs:
        categories(repr(method_name(strategy)), generator.space.levels)
    if Need.FEW in strategy.needs:
        few(repr(method_name(strategy)), generator.space.dim)
    path, loss = Need.PATH in strategy.needs, Need.LIKELIHOOD in strategy.needs
    own = loss or Need.DENOISER in strategy.needs
    if not path and not own:
        return generator
    if not isinstance(generator, DiffusionGenerator):
        if loss and generator.encoder is not None:
            return generator
        if loss:
            raise CapabilityError(
                f"{method_name(strategy)!r} trains by the model's own loss, and {generator.name!r} has none",
                expected="a diffusion or flow model, or a variational autoencoder",
                remedy="zmax.generator(decoder, shape=..., encoder=...), or another tuner, such as 'noise-regression'",
            )
        raise CapabilityError(
            f"{method_name(strategy)!r} steers the path from noise to data, and {generator.name!r} has none",
            expected="a diffusion or flow model",
            remedy="choose a method that searches latents, such as 'snes', or 'auto'",
        )
    if own and not path:
        return generator if has_ends(generator) else generator.stochastic(0.0)
    return along_path(generator)


def along_path(generator: DiffusionGenerator) -> DiffusionGenerator:
    """Return a diffusion or flow model with fresh noise on its path."""
    return generator if has_path(generator.space) else generator.stochastic()


def method_name(strategy: Method) -> str:
    """Return the name under which `as_strategy` finds the method's class."""
    kind = type(strategy)
    for table in (registry, tuners, conditioners):
        for name in table:
            if table.load(name) is kind:
                return name
    return f"{kind.__module__}:{kind.__qualname__}"


def method_source(asked: object, strategy: Method) -> str:
    """Return how to ask for the method in another process: as the user did, or by the name of its class."""
    return asked if isinstance(asked, str) and asked != AUTO else method_name(strategy)


def nameless(g: Generator, s: Score, held_out: Score | None, method: str, params: dict[str, Any]) -> tuple[str, ...]:
    """Return which parts of a run no other process could load."""
    local = tuple(f"{module}:" for module in (LOCAL, *loaded_files()))
    missing = {
        "generator": not g.source,
        "score": not s.source,
        "held_out": held_out is not None and not held_out.source,
        "method": any(str(word).startswith(local) or "<locals>" in str(word) for word in (method, *params.values())),
    }
    return tuple(name for name, absent in missing.items() if absent)


def parameters(strategy: object) -> dict[str, Any]:
    """Return the constructor arguments of a method that differ from its defaults.

    Raises:
        InputError: the method does not keep an argument under its own name, or it is no plain value.
    """
    signature = inspect.signature(type(strategy)).parameters
    changed: dict[str, Any] = {}
    for name, parameter in signature.items():
        value = getattr(strategy, name, parameter.empty)
        if value is not None and not isinstance(value, (bool, int, float, str)):
            expected = "a number, text or None, kept as an attribute of that name"
            raise InputError(f"parameter {name!r} of {type(strategy).__name__}", expected=expected, got=repr(value))
        if value != parameter.default:
            changed[name] = value
    return changed
