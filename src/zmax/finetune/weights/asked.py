"""Children that are told a score: by their layers, by a map of their noises, or on their path."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zmax.core.errors import CapabilityError
from zmax.core.generator import DiffusionGenerator, Generator
from zmax.core.quantiles import Quantiles
from zmax.core.samples import Samples
from zmax.finetune.weights.check import check
from zmax.finetune.weights.child import Child, born, copied, to_float32
from zmax.finetune.weights.plan import ASKED, NATIVE, NOISES, PATH, Plan, parameters
from zmax.generators.asked_map import AskedMap, seen
from zmax.generators.asked_path import AskedPath
from zmax.generators.asking import Asking
from zmax.generators.conditioned import Ask, Conditioned, told
from zmax.generators.diffusers.native import NativeAsk
from zmax.kit.forward import has_ends


def child_told(generator: Generator, law: Quantiles, names: Sequence[str]) -> Child:
    """Return a copy of a generator whose layers are told a score; at first it is the parent, whatever is asked.

    Args:
        generator: the parent.
        law: of the scores.
        names: of the scores.

    Raises:
        CapabilityError: no layer can be told, or the generator cannot be copied.
    """
    child = _told(generator, Plan(ASKED, 1, 1.0, (), tuple(names), _knots(law)))
    last = f"{len(generator.networks)}."  # the embedding: it changes nothing while the layers do not listen
    check(generator, child.generator, {n: weight for n, weight in child.weights.items() if not n.startswith(last)})
    return child


def child_mapped(generator: Generator, law: Quantiles, names: Sequence[str], x: Samples, *, among: int = 1) -> Child:
    """Return a generator behind a map of its noises that is told a score; at first it is the parent.

    Args:
        generator: the parent, which stays as it is.
        law: of the scores.
        names: of the scores.
        x: samples; what is no tensor is judged by its noises.
        among: candidates for each sample.
    """
    looks = seen(x) if isinstance(x, Tensor) else None
    shape = () if looks is None else tuple(looks.shape[1:])
    direct = bool(generator.differentiable)
    child = _mapped(generator, Plan(NOISES, 1, 1.0, (), tuple(names), _knots(law), among, shape, direct))
    made = child.generator
    assert isinstance(made, Conditioned), "made so"
    assert isinstance(made.ask, AskedMap), "made so"
    if looks is not None:
        made.ask.judge.scale(looks)
    return child


def child_pushed(generator: Generator, law: Quantiles, names: Sequence[str], shape: Sequence[int]) -> Child:
    """Return a diffusion or flow model whose path is pushed to a score; at first it is the parent.

    Args:
        generator: the parent, which stays as it is.
        law: of the scores.
        names: of the scores.
        shape: of a sample in the network's scale.
    """
    return _pushed(generator, Plan(PATH, 1, 1.0, (), tuple(names), _knots(law), seen=tuple(shape)))


def child_native(generator: Generator, law: Quantiles, names: Sequence[str]) -> Child:
    """Return a pipeline that takes a score by itself as a conditioned generator.

    Args:
        generator: the pipeline, which stays as it is.
        law: of the scores.
        names: of the score, one alone.

    Raises:
        CapabilityError: there are several.
    """
    return _native(generator, Plan(NATIVE, 1, 1.0, (), tuple(names), _knots(law)))


def again(generator: Generator, plan: Plan) -> Child:
    """Return the child by a plan, unchecked."""
    made = {NOISES: _mapped, ASKED: _told, PATH: _pushed, NATIVE: _native}.get(plan.kind, born)
    return made(generator, plan)


def _knots(law: Quantiles) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(column) for column in law.knots.T.tolist())


def _mapped(generator: Generator, plan: Plan) -> Child:
    return _beside(generator, AskedMap(_law(plan), generator.space.dim, plan.seen, plan.direct, plan.among), plan)


def _pushed(generator: Generator, plan: Plan) -> Child:
    return _beside(_with_ends(generator), AskedPath(_law(plan), plan.seen), plan)


def _native(generator: Generator, plan: Plan) -> Child:
    if len(plan.names) > 1:
        raise CapabilityError("a score that a pipeline takes", expected="one", got=", ".join(plan.names))
    made = Conditioned(generator, NativeAsk(_law(plan)), plan.names)
    return Child(made, {}, plan, (), generator.source or generator.name)


def _beside(generator: Generator, ask: Asking, plan: Plan) -> Child:
    """Return a generator as it is, with weights beside it that are told a score."""
    ask = ask.to(generator.device)
    moving = {f"ask.{name}": weight for name, weight in ask.named_parameters()}
    return Child(Conditioned(generator, ask, plan.names), moving, plan, (), generator.source or generator.name)


def _law(plan: Plan) -> Quantiles:
    return Quantiles(torch.tensor(plan.knots, device="cpu").T)


def _with_ends(generator: Generator) -> Generator:
    """Return a diffusion or flow model with its path at hand."""
    assert isinstance(generator, DiffusionGenerator), "its method needs a path"
    return generator if has_ends(generator) else generator.stochastic(0.0)


def _told(generator: Generator, plan: Plan) -> Child:
    made = copied(generator, plan)
    for network in made.networks:
        to_float32(network)
        network.eval()
    ask = Ask(_law(plan)).to(generator.device)
    layers = told(made, ask)
    conditioned = Conditioned(made, ask, plan.names)
    added = {f"{len(made.networks)}.{name}" for name, _ in ask.named_parameters()}
    weights: dict[str, nn.Parameter] = {}
    for name, weight in parameters(conditioned):
        new = name in added or ".film." in name
        weight.requires_grad_(new or (plan.kind == ASKED and weight.is_floating_point()))
        if weight.requires_grad:
            weights[name] = weight
    return Child(conditioned, weights, plan, (tuple(layers),), generator.source or generator.name)
