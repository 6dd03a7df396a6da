"""The low-rank additions of a pipeline's network as a file that `diffusers` loads by itself."""

from __future__ import annotations

import inspect
from pathlib import Path

import torch

from zmax.core.errors import CapabilityError
from zmax.finetune.weights.child import Child
from zmax.generators.diffusers.adapter import OfPipeline


def save_lora(child: Child, folder: str | Path) -> None:
    """Write what was added to a pipeline's network, so that `pipe.load_lora_weights(folder)` has it, without zmax.

    The scale alpha / r goes into the second matrix, so whoever reads the file needs no alpha.

    Args:
        child: with low rank, of a generator made by `from_diffusers`.
        folder: where `pytorch_lora_weights.safetensors` goes.

    Raises:
        CapabilityError: it is no such child, or the pipeline's class loads no LoRA.

    Example:
        >>> import tempfile, zmax
        >>> from zmax.finetune.weights import child_of
        >>> call = {"prompt": "a red hat", "num_inference_steps": 1}
        >>> G = zmax.generators.from_diffusers(zmax.testing.tiny_pipeline("stable-diffusion"), **call)
        >>> pipe = zmax.testing.tiny_pipeline("stable-diffusion")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_lora(child_of(G, "lora"), folder)
        ...     pipe.load_lora_weights(folder)
    """
    if child.kind != "lora" or not isinstance(child.generator, OfPipeline):
        got = f"{child.kind} weights of a {type(child.generator).__name__}"
        raise CapabilityError("a LoRA for diffusers", expected="LoRA of a diffusers pipeline", got=got)
    pipe = child.generator.pipe
    save = getattr(type(pipe), "save_lora_weights", None)
    accepted = inspect.signature(save).parameters if save else {}
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for index, network in enumerate(child.generator.networks):
        part = next(name for name, component in pipe.components.items() if component is network)
        if f"{part}_lora_layers" not in accepted:
            expected = "a pipeline whose class has load_lora_weights"
            got = f"the {part} of a {type(pipe).__name__}"
            raise CapabilityError("a LoRA for diffusers", expected=expected, got=got, remedy="keep zmax's own file")
        layers[f"{part}_lora_layers"] = {
            name.partition(".")[2].replace(".default.", "."): weight * (child.plan.alpha / child.plan.rank)
            if ".lora_B." in name
            else weight
            for name, weight in child.tensors().items()
            if name.partition(".")[0] == str(index)
        }
    assert save is not None, "it takes a part's layers"
    save(str(folder), **layers)
