"""Low-rank additions to layers, by `peft`."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import nn

from zmax.core.errors import CapabilityError, MissingExtraError
from zmax.core.generator import Generator
from zmax.core.rng import stream
from zmax.finetune.weights.plan import Plan


def add_lora(generator: Generator, layers: Sequence[Sequence[str]], plan: Plan) -> None:
    """Add low rank to layers, in place; the first matrix is drawn by the layer's name, the second is zero.

    Args:
        generator: whose networks change.
        layers: by network, paths of linear and convolutional layers.
        plan: rank and alpha.

    Raises:
        MissingExtraError: `peft` is not installed.
        CapabilityError: there are no such layers, or the networks have low-rank additions already.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtraError("peft", "finetune", "LoRA") from error
    if not any(layers):
        expected = "linear or convolutional layers inside its networks"
        raise CapabilityError(f"LoRA of {generator.name!r}", expected=expected, remedy='weights="full"')
    if any(hasattr(network, "peft_config") for network in generator.networks):
        remedy = 'fuse them (of a pipeline: pipe.fuse_lora(); pipe.unload_lora_weights()), or weights="full"'
        raise CapabilityError(f"LoRA of {generator.name!r}", expected="plain layers", got="LoRA already", remedy=remedy)
    for index, (network, paths) in enumerate(zip(generator.networks, layers, strict=True)):
        if not paths:
            continue
        exactly = "|".join(map(re.escape, paths))
        config = LoraConfig(r=plan.rank, lora_alpha=plan.alpha, target_modules=exactly)  # type: ignore[arg-type]
        with torch.random.fork_rng(devices=[]):  # peft initialises from the global stream
            inject_adapter_in_model(config, network)
        _begin(network, index)
    _without_shortcuts(generator)


def _begin(network: nn.Module, index: int) -> None:
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if ".lora_A." in name:
                draw = torch.rand(weight.shape, generator=stream(0, "lora", index, name), device="cpu")
                weight.data = weight.data.float().copy_((2 * draw - 1) / weight[0].numel() ** 0.5)
            elif ".lora_B." in name:
                weight.data = torch.zeros_like(weight, dtype=torch.float32)


def _without_shortcuts(generator: Generator) -> None:
    """Make torch's transformer layers call their parts without gradients too, instead of reading their weights."""
    for network in generator.networks:
        for module in network.modules():
            if isinstance(module, nn.TransformerEncoderLayer):
                module.activation_relu_or_gelu = 0
