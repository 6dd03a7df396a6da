"""The arguments of a pipeline's call for n samples, and its prompts, each encoded once."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zmax.core.errors import InputError

OURS = ("latents", "generator", "output_type", "return_dict", "batch_size", "num_images_per_prompt")
"""Arguments that the generator sets itself."""

CALLBACKS = ("callback_on_step_end", "callback_on_step_end_tensor_inputs")


class Call:
    """What a pipeline is called with, whatever the number of samples.

    Args:
        pipe: the pipeline.
        prompt: the text or texts, None for a pipeline without.
        given: further arguments of the pipeline's call.

    Raises:
        InputError: the pipeline takes no such argument, or zmax sets it.
    """

    def __init__(self, pipe: Any, prompt: str | Sequence[str] | None, given: Mapping[str, Any]) -> None:
        self._names = frozenset(inspect.signature(type(pipe).__call__).parameters)
        name = type(pipe).__name__
        for key in given:
            if key in OURS:
                raise InputError(f"from_diffusers({key}=...)", expected="left to zmax, which sets it")
            if key not in self._names:
                known = ", ".join(sorted(self._names - {"self", "args", "kwargs", *OURS}))
                raise InputError(f"the pipeline {name!r} takes no argument {key!r}", expected=known)
        texts = [prompt] if isinstance(prompt, str) else list(prompt or ())
        if texts and "prompt" not in self._names:
            raise InputError(f"the pipeline {name!r} takes no prompt", got=repr(prompt))
        embedded = any(key.startswith("prompt_embeds") for key in given)
        self.prompts: list[str] = texts if texts or embedded or "prompt" not in self._names else [""]
        self._given = dict(given)
        self._encoded: dict[str, Any] = {}

    def arguments(self, rows: Sequence[int], *, callbacks: bool = False, steps: int | None = None) -> dict[str, Any]:
        """Return the arguments for as many samples as `rows` names prompts.

        Args:
            rows: index of each sample's prompt.
            callbacks: whether to pass on the user's.
            steps: number of steps, None for the user's.
        """
        kept = {key: value for key, value in self._given.items() if callbacks or key not in CALLBACKS}
        if steps is not None:
            kept = {key: value for key, value in kept.items() if key not in ("timesteps", "sigmas")}
            kept["num_inference_steps"] = steps
        made = {key: _for_each(key, value, len(rows)) for key, value in kept.items()}
        if self.prompts:
            made["prompt"] = [self.prompts[row] for row in rows]
        if "batch_size" in self._names:
            made["batch_size"] = len(rows)
        return {"output_type": "pt", "return_dict": False, **made}

    def encode(self, view: Any, *args: Any, **kwargs: Any) -> Any:
        """Encode prompts one by one, each once, in place of the pipeline's `encode_prompt`."""
        method = type(view).encode_prompt
        bound = inspect.signature(method).bind(view, *args, **kwargs)
        lists = {key: value for key, value in bound.arguments.items() if _is_texts(value)}
        if not lists:
            return method(*bound.args, **bound.kwargs)
        parts = []
        for i in range(max(len(value) for value in lists.values())):
            bound.arguments.update({key: value[i] for key, value in lists.items()})
            key = repr([(name, _key(value)) for name, value in bound.arguments.items() if name != "self"])
            if key not in self._encoded:
                with torch.inference_mode(False), torch.no_grad():
                    self._encoded[key] = method(*bound.args, **bound.kwargs)
            parts.append(self._encoded[key])
        return _joined(parts)


def _for_each(key: str, value: Any, n: int) -> Any:
    """Repeat what belongs to a sample: texts, labels, embeddings and their masks."""
    if key.startswith(("prompt", "negative_prompt")) and isinstance(value, str):
        return [value] * n
    if key == "class_labels":
        return [value] * n if isinstance(value, int) else list(value) * n
    if isinstance(value, Tensor) and ("embeds" in key or "mask" in key) and len(value) == 1:
        return value.expand(n, *value.shape[1:])
    return value


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def _key(value: object) -> object:
    return id(value) if isinstance(value, Tensor) else value


def _joined(parts: list[Any]) -> Any:
    """Put the encodings of single prompts into a batch; what has no row a prompt is shared."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts) if first.ndim > 1 and len(first) == 1 else first
    if isinstance(first, tuple):
        return tuple(_joined([part[i] for part in parts]) for i in range(len(first)))
    if isinstance(first, list):
        return [item for part in parts for item in part]
    return first
