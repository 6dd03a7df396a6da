"""Which weights of a generator move: all, those of some layers, low-rank additions, or those of a map before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from torch import Tensor, nn

from zmax.core.errors import CapabilityError, InputError
from zmax.core.generator import Generator

FEW = 5_000_000
"""Fewer weights than this all move, where nothing else is said."""

LATENTS = "latents"
"""The kind of a child whose weights are those of a map of its noises, before the parent as it is."""

ASKED = "asked"
"""The kind of a child whose layers are told a score; all its weights move."""

NOISES = "noises"
"""The kind of a child whose noises are told a score, by a map before the parent as it is."""

PATH = "path"
"""The kind of a child whose path is told a score, by a regressor beside the parent as it is."""

NATIVE = "native"
"""The kind of a child that takes a score by itself; nothing moves."""


@dataclass(frozen=True)
class Plan:
    """Which weights move.

    Attributes:
        kind: "full", "lora", "latents", "asked", "noises", "path" or "native".
        rank: of the low-rank additions.
        alpha: they are multiplied by alpha / rank.
        layers: parts of names, from dot to dot; only weights whose name contains one of them move. All if empty.
        names: of the scores that it is told.
        knots: of their laws, one list each; see :class:`~zmax.core.quantiles.Quantiles`.
        among: candidates of a map of noises, see :class:`~zmax.generators.asked_map.AskedMap`.
        seen: shape of the samples that it judges, or that a regressor on the path does.
        direct: whether slopes can be had through the parent.
    """

    kind: str
    rank: int
    alpha: float
    layers: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    knots: tuple[tuple[float, ...], ...] = ()
    among: int = 1
    seen: tuple[int, ...] = ()
    direct: bool = False

    def has(self, name: str) -> bool:
        """Say whether a weight of this name moves, or is added to."""
        return not self.layers or any(_within(layer, name) for layer in self.layers)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as data for JSON."""
        lists = {"layers": list(self.layers), "names": list(self.names), "knots": [list(law) for law in self.knots]}
        return asdict(self) | lists | {"seen": list(self.seen)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """Return the plan that such data came from."""
        kind, rank, alpha, layers = str(data["kind"]), int(data["rank"]), float(data["alpha"]), tuple(data["layers"])
        knots = tuple(tuple(map(float, law)) for law in data.get("knots", ()))
        among, seen = int(data.get("among", 1)), tuple(map(int, data.get("seen", ())))
        names, direct = tuple(data.get("names", ())), bool(data.get("direct", False))
        return cls(kind, rank, alpha, layers, names, knots, among, seen, direct)


def plan_of(
    generator: Generator, weights: str, *, rank: int, alpha: float | None, layers: Sequence[str] | str | None
) -> Plan:
    """Check the arguments of :func:`~zmax.finetune.weights.child.child_of` against the generator.

    Raises:
        InputError: there is no such kind, the rank or alpha is not positive, or no layer is called so.
        CapabilityError: the generator has no weights, or no layer that low rank can be added to.
    """
    if weights == LATENTS:
        if layers is not None:
            raise InputError("layers to finetune", expected="none: a map of the noises moves", got=layers)
        return Plan(LATENTS, rank, float(rank))
    named = {name: weight for name, weight in parameters(generator) if weight.is_floating_point()}
    if not named:
        raise CapabilityError(
            f"nothing to finetune in {generator.name!r}",
            expected="networks with parameters",
            got=f"{len(generator.networks)} networks without any",
            remedy='method="noise" or "noise-regression" moves the law of its noises instead',
        )
    kind, colon, text = weights.partition(":")
    rank = int(text) if text.isdigit() else rank
    if kind not in ("auto", "full", "lora") or (colon and (kind != "lora" or not text.isdigit())):
        expected = '"auto", "full", "lora", "lora:RANK" or "latents"'
        raise InputError("weights to finetune", expected=expected, got=repr(weights))
    if rank < 1 or not (alpha is None or alpha > 0):
        raise InputError("LoRA", expected="a rank of at least 1 and alpha > 0", got=f"rank {rank}, alpha {alpha}")
    chosen = (layers,) if isinstance(layers, str) else tuple(layers or ())
    plan = Plan(kind, rank, float(rank if alpha is None else alpha), chosen)
    unknown = [layer for layer in chosen if not any(_within(layer, name) for name in named)]
    if unknown or (layers is not None and not chosen):
        remedy = f"choose among {', '.join(prefixes(named))}"
        raise InputError(
            "layers to finetune", expected="parts of names of weights", got=unknown or "none", remedy=remedy
        )
    if kind == "auto":
        few = sum(weight.numel() for weight in named.values()) < FEW
        kind = "full" if few or not any(targets(generator, plan)) else "lora"
    return Plan(kind, plan.rank, plan.alpha, chosen)


def parameters(generator: Generator) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield every parameter of the networks once, as "{network}.{path}"."""
    seen: set[int] = set()
    for index, network in enumerate(generator.networks):
        for name, weight in network.named_parameters():
            if id(weight) not in seen:
                seen.add(id(weight))
                yield f"{index}.{name}", weight


def tensors(generator: Generator) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters, then the buffers, of the networks."""
    buffers = (
        (f"{i}.{name}", b) for i, network in enumerate(generator.networks) for name, b in network.named_buffers()
    )
    return chain(parameters(generator), buffers)


def targets(generator: Generator, plan: Plan) -> list[list[str]]:
    """Return by network the paths of its layers, linear or convolutional, that low rank can be added to.

    A module that a network consists of has no path. Subclasses may use their weights in other ways than by a call.
    """
    seen: set[int] = set()
    found: list[list[str]] = []
    for index, network in enumerate(generator.networks):
        layers = [(path, m) for path, m in network.named_modules() if path and _takes_lora(m) and id(m) not in seen]
        seen |= {id(module) for _, module in layers}
        found.append([path for path, _ in layers if plan.has(f"{index}.{path}")])
    return found


def _takes_lora(module: nn.Module) -> bool:
    if type(module) is nn.Conv2d:
        return module.groups == 1 and module.dilation == (1, 1)
    return type(module) is nn.Linear


def _within(layer: str, name: str) -> bool:
    return f".{layer.strip('.')}." in f".{name}."


def prefixes(names: Mapping[str, object]) -> list[str]:
    """Return the parts of a generator that `layers` may name, a block of a list each.

    Example:
        >>> prefixes({"0.convs.0.weight": 1, "0.convs.0.bias": 1, "0.convs.1.weight": 1, "0.last.bias": 1, "0.b": 1})
        ['0.convs.0', '0.convs.1', '0.last', '0.b']
    """
    cut = [name.split(".") for name in names]
    heads = [parts[:3] if len(parts) > 3 and parts[2].isdigit() else parts[:2] for parts in cut]
    return list(dict.fromkeys(".".join(head) for head in heads))
