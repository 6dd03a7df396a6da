"""A generator whose weights may move, beside the parent that it starts as."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zmax.core.errors import CapabilityError, InputError, ShapeError
from zmax.core.generator import Generator
from zmax.finetune.weights.check import check
from zmax.finetune.weights.lora import add_lora
from zmax.finetune.weights.plan import LATENTS, NATIVE, NOISES, PATH, Plan, parameters, plan_of, targets, tensors
from zmax.generators.diffusers.standins import mapped
from zmax.generators.mapped import Coupling, Mapped

ADDED = re.compile(r"\.lora_[AB]\.")
HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Child:
    """A generator with weights of its own; made by :func:`child_of`.

    Attributes:
        generator: of the parent's class, or a map before the parent; at first the same function.
        weights: the parameters that move, by "{network}.{path}", those of a map by "flow.{path}"; float32, perhaps of a
            float16 or bfloat16 parent.
        plan: which these are.
        targets: by network, the layers that low rank is added to.
        parent: specification or name of the generator that it came from.
    """

    generator: Generator
    weights: dict[str, nn.Parameter]
    plan: Plan
    targets: tuple[tuple[str, ...], ...]
    parent: str

    @property
    def kind(self) -> str:
        """What moves: see :class:`~zmax.finetune.weights.plan.Plan`."""
        return self.plan.kind

    def describe(self) -> str:
        """Say how many weights move."""
        moving = sum(weight.numel() for weight in self.weights.values())
        if self.kind == LATENTS:
            return f"a map of {self.generator.space.dim:,} noises before a generator as it is: {moving:,} weights move"
        if self.kind == NOISES:
            told = f"a map of {self.generator.space.dim - len(self.plan.names):,} noises is told"
            return f"{told} {', '.join(self.plan.names)}, before a generator as it is: {moving:,} weights move"
        if self.kind == NATIVE:
            return f"a pipeline as it is, told {', '.join(self.plan.names)} by its own argument: no weights move"
        if self.kind == PATH:
            told = f"a regressor of noisy samples tells {', '.join(self.plan.names)}"
            return f"{told}, beside a model as it is: {moving:,} weights move"
        every = sum(weight.numel() for _, weight in parameters(self.generator))
        if self.plan.names:
            layers = sum(map(len, self.targets))
            return f"{layers} layers are told {', '.join(self.plan.names)}: {moving:,} of {every:,} weights move"
        share = f"{moving:,} of {every - moving if self.kind == 'lora' else every:,} weights move"
        if self.kind == "lora":
            return f"LoRA of rank {self.plan.rank} on {sum(map(len, self.targets))} layers: {share}"
        return f"{'full weights' if not self.plan.layers else 'weights of ' + ', '.join(self.plan.layers)}: {share}"

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of the weights that move."""
        return {name: weight.detach().clone() for name, weight in self.weights.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the weights that move, in place.

        Raises:
            InputError: the names are not those of :attr:`weights`.
            ShapeError: a shape is another one.
        """
        missing, unknown = self.weights.keys() - tensors.keys(), tensors.keys() - self.weights.keys()
        if missing or unknown:
            got = f"{len(missing)} missing, {len(unknown)} unknown: {', '.join(sorted(missing | unknown)[:4])}"
            raise InputError("weights of a child", expected=f"the {len(self.weights)} that move", got=got)
        for name, weight in self.weights.items():
            if weight.shape != tensors[name].shape:
                raise ShapeError(f"the weight {name!r}", expected=tuple(weight.shape), got=tuple(tensors[name].shape))
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(tensors[name])


def child_of(
    generator: Generator,
    weights: str = "auto",
    *,
    rank: int = 8,
    alpha: float | None = None,
    layers: Sequence[str] | str | None = None,
) -> Child:
    r"""Return a copy of a generator whose weights may move; the parent stays as it is, bit for bit.

    With low rank a layer's weight :math:`W` stays, and what moves is a product that begins as zero:

    .. math:: W' = W + \tfrac{\alpha}{r} B A, \qquad B = 0,\quad A \sim U(\pm 1 / \sqrt{\text{inputs}})

    Frozen weights share their memory with the parent's. Networks are in evaluation mode, and stay so. Two latents are
    decoded by both, before and after a change of each network's weights that is undone, to see that they are in use.

    Reference: Hu et al. 2022, *LoRA*, sec. 4.1, https://arxiv.org/abs/2106.09685.

    Args:
        generator: the parent. Of a pipeline of diffusers the networks that denoise move, and all else is shared.
        weights: "full"; "lora" or "lora:RANK", on linear and convolutional layers (`peft`); "auto", which is full
            where there are fewer than 5 million weights, else LoRA; or "latents", an invertible map of the noises of
            any generator, which stays as it is (:class:`~zmax.generators.mapped.Mapped`).
        rank: r.
        alpha: scale of the low-rank product; r if None.
        layers: parts of names, from one dot to another, such as ("0.convs.3", "to_rgb"): only what contains one of them
            moves.

    Raises:
        InputError: an argument is not known; the message lists the layers.
        CapabilityError: the generator has no weights, cannot be copied, or decodes by other networks than it names.
        MissingExtraError: `peft` is not installed.

    Example:
        >>> import torch, zmax
        >>> G = zmax.generator(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)), shape=(4,))
        >>> child = child_of(G, "lora:2")
        >>> child.describe()
        'LoRA of rank 2 on 2 layers: 44 of 58 weights move'
        >>> child_of(G, layers=("0.1",)).describe()
        'weights of 0.1: 18 of 58 weights move'
    """
    child = born(generator, plan_of(generator, weights, rank=rank, alpha=alpha, layers=layers))
    if child.kind != LATENTS:
        check(generator, child.generator, child.weights)
    return child


def born(generator: Generator, plan: Plan) -> Child:
    """Return the child by a plan that tells it no score, unchecked."""
    if plan.kind == LATENTS:
        before = Mapped(generator, Coupling(generator.space.dim))
        moving = {f"flow.{name}": weight for name, weight in before.flow.named_parameters()}
        return Child(before, moving, plan, (), generator.source or generator.name)
    made = copied(generator, plan)
    layers: list[list[str]] = [[] for _ in made.networks]
    if plan.kind == "lora":
        layers = targets(made, plan)
        add_lora(made, layers, plan)
    else:
        for network in made.networks:
            to_float32(network)
    for network in made.networks:
        network.eval()
    weights: dict[str, nn.Parameter] = {}
    for name, weight in parameters(made):
        moves = ADDED.search(name) is not None if plan.kind == "lora" else plan.has(name) and weight.is_floating_point()
        weight.requires_grad_(moves)
        if moves:
            weights[name] = weight
    made.source = ""
    return Child(made, weights, plan, tuple(map(tuple, layers)), generator.source or generator.name)


def copied(generator: Generator, plan: Plan) -> Generator:
    """Copy a generator; what stays is a view of the parent's memory, with a graph and a grad of its own."""
    memo: dict[int, Any] = {id(generator.space): generator.space}
    for name, tensor in tensors(generator):
        if plan.kind == "lora" or not plan.has(name):
            fixed = tensor.detach()
            memo[id(tensor)] = nn.Parameter(fixed, requires_grad=False) if isinstance(tensor, nn.Parameter) else fixed
    try:
        return copy.deepcopy(generator, memo)
    except Exception as error:
        raise CapabilityError(
            f"{generator.name!r} cannot be copied",
            expected="a generator that copy.deepcopy copies",
            got=f"{type(error).__name__}: {error}",
            remedy="give the module itself: zmax.generator(module, shape=...)",
        ) from error


def to_float32(network: nn.Module) -> None:
    """Compute in float32 what the network's callers see in float16 or bfloat16: small updates need the digits."""
    kind = next((w.dtype for w in network.parameters() if w.dtype in HALF), None)
    if kind is None:
        return
    network.float()
    network.register_forward_pre_hook(
        lambda module, args, kwargs: (mapped(args, _single), mapped(kwargs, _single)), with_kwargs=True
    )
    network.register_forward_hook(lambda module, args, answer: mapped(answer, lambda t: t.to(kind)))


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in HALF else tensor
