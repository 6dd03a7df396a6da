"""The arguments of a pipeline's call for n samples, and its prompts, each encoded once."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zmax.core.errors import InputError

OURS = re.compile(r"latents|generator|output_type|return_dict|batch_size|num_\w+_per_\w+")
"""Arguments that the generator sets itself, or that would make several samples of one latent."""

SCORE, SCORE_AWAY, SCALE = "aesthetic_score", "negative_aesthetic_score", "guidance_scale"
"""Arguments by which a pipeline is told a score, one that it keeps away from, and how strongly."""

CALLBACK, IMAGE = "callback_on_step_end", "image"

STEPWISE = {
    **dict.fromkeys(("control_guidance_start", "denoising_start", "skip_layer_guidance_start"), (0.0, None)),
    **dict.fromkeys(("control_guidance_end", "denoising_end", "skip_layer_guidance_stop"), (1.0, None)),
}
"""Arguments by which steps differ, and values by which they do not."""


class Call:
    """What a pipeline is called with, whatever the number of samples.

    Args:
        pipe: the pipeline.
        prompt: the text or texts, None for a pipeline without.
        given: further arguments of the pipeline's call.

    Attributes:
        choices: number of prompts (texts, embeddings or labels) among which each sample has one.
        callback: the user's, if any.
        stepwise: an argument by which steps differ, "" if there is none.

    Raises:
        InputError: the pipeline takes no such argument, or zmax sets it, or there are other numbers of prompts.
    """

    def __init__(self, pipe: Any, prompt: str | Sequence[str] | None, given: Mapping[str, Any]) -> None:
        self._signature = inspect.signature(type(pipe).__call__).parameters
        self._names = frozenset(self._signature)
        name = type(pipe).__name__
        for key in given:
            if OURS.fullmatch(key):
                raise InputError(f"from_diffusers({key}=...)", expected="left to zmax, which sets it")
            if not self.takes(key):
                known = ", ".join(sorted(k for k in self._names - {"self", "args", "kwargs"} if not OURS.fullmatch(k)))
                raise InputError(f"the pipeline {name!r} takes no argument {key!r}", expected=known)
        texts = [prompt] if isinstance(prompt, str) else list(prompt or ())
        if texts and not self.takes("prompt"):
            raise InputError(f"the pipeline {name!r} takes no prompt", got=repr(prompt))
        embedded = any(key.startswith("prompt_embeds") for key in given)
        texts = texts if texts or embedded or not self.takes("prompt") else [""]
        self.prompts = tuple(text for text in texts if text)
        every = {**given, **({"prompt": texts} if texts else {})}
        self._each = {key: parts for key, value in every.items() if (parts := _each(key, value)) is not None}
        if IMAGE in every and not self._each and not self.takes("batch_size"):  # then pictures are what it counts
            self._each[IMAGE] = _pictures(every[IMAGE])
        self._given = {key: value for key, value in given.items() if key not in self._each}
        self.choices = max((len(parts) for parts in self._each.values()), default=1)
        for key, parts in self._each.items():
            if len(parts) not in (1, self.choices):
                expected = f"one, or {self.choices}: one for each prompt"
                raise InputError(f"from_diffusers({key}=...)", expected=expected, got=len(parts))
        self.callback = self._given.pop(CALLBACK, None)
        self.stepwise = next((key for key, same in STEPWISE.items() if given.get(key) not in same), "")
        self._encoded: dict[str, Any] = {}
        self._encoders: Any = None

    def takes(self, key: str) -> bool:
        """Say whether the pipeline's call has such an argument."""
        return key in self._names

    def value(self, key: str) -> Any:
        """Return an argument that all samples share, as given or by default."""
        return self._given.get(key, self._signature[key].default)

    def asked(self, given: Mapping[str, Any]) -> Call:
        """Return the same arguments but for these, which all samples share."""
        made = copy.copy(self)
        made._given = {**self._given, **given}
        return made

    def made(
        self,
        rows: Sequence[int],
        *,
        callback: Any = None,
        steps: int | None = None,
        one: bool = False,
        output: str = "pt",
    ) -> dict[str, Any]:
        """Return the arguments for as many samples as `rows` names prompts.

        Args:
            rows: index of each sample's prompt.
            callback: what is called at the end of each step.
            steps: number of steps, None for the user's.
            one: whether there is one step only, from noise.
            output: what the samples come as.
        """
        made = dict(self._given)
        if steps is not None:
            made = {key: value for key, value in made.items() if key not in ("timesteps", "sigmas")}
            made["num_inference_steps"] = steps
        for key, parts in self._each.items():
            chosen = [parts[row if len(parts) > 1 else 0] for row in rows]
            made[key] = torch.cat(chosen) if isinstance(chosen[0], Tensor) else chosen
        made |= {} if callback is None else {CALLBACK: callback}
        made |= {"strength": 1.0} if one and self.takes("strength") else {}
        ours = {"batch_size": len(rows), "output_type": output, "return_dict": False}
        return made | {key: value for key, value in ours.items() if self.takes(key)}

    def encode(self, view: Any, encoders: Iterable[nn.Module], *args: Any, **kwargs: Any) -> Any:
        """Encode prompts one by one, each once, in place of the pipeline's `encode_prompt`."""
        method = type(view).encode_prompt
        bound = inspect.signature(method).bind(view, *args, **kwargs)
        lists = {key: value for key, value in bound.arguments.items() if _is_texts(value)}
        if not lists or any(isinstance(value, Tensor) for value in bound.arguments.values()):
            with torch.no_grad():
                return method(*bound.args, **bound.kwargs)
        if (version := [_version(encoder) for encoder in encoders]) != self._encoders:
            self._encoders, self._encoded = version, {}
        parts = []
        for i in range(max(len(value) for value in lists.values())):
            bound.arguments.update({key: value[i] for key, value in lists.items()})
            key = repr([(name, value) for name, value in bound.arguments.items() if name != "self"])
            if key not in self._encoded:
                with torch.inference_mode(False), torch.no_grad():
                    self._encoded[key] = method(*bound.args, **bound.kwargs)
            parts.append(self._encoded[key])
        return _joined(parts)


def _each(key: str, value: Any) -> list[Any] | None:
    """Return what belongs to one prompt each: texts, labels, embeddings and their masks; None if nothing does."""
    if key.startswith(("prompt", "negative_prompt")) and isinstance(value, str):
        return [value]
    if key.startswith(("prompt", "negative_prompt")) and _is_texts(value):
        return list(value)
    if key == "class_labels" and value is not None:
        return [value] if isinstance(value, int) else [int(label) for label in value]
    if isinstance(value, Tensor) and value.ndim > 1 and ("embed" in key or key.endswith("attention_mask")):
        return list(value.split(1))
    return None


def _pictures(value: Any) -> list[Any]:
    """Return pictures one by one: of a tensor, of a list, or one alone."""
    if isinstance(value, Tensor):
        return list((value if value.ndim > 3 else value[None]).split(1))
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _is_texts(value: object) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(item, str) for item in value)


def _version(encoder: nn.Module) -> Any:
    """Return what changes with an encoder's weights; weights that are moved about are taken as they are."""
    if hasattr(encoder, "_hf_hook"):
        return id(encoder)
    return id(encoder), [(id(w), 0 if w.is_inference() else w._version) for w in encoder.parameters()]


def _joined(parts: list[Any]) -> Any:
    """Put the encodings of single prompts into a batch; what has no row a prompt is shared.

    Two rows are a prompt without and with guidance; in a batch, all those without it come first.
    """
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.stack(parts, 1).flatten(0, 1) if first.ndim > 1 and len(first) in (1, 2) else first
    if isinstance(first, tuple):
        return tuple(_joined([part[i] for part in parts]) for i in range(len(first)))
    if isinstance(first, list):
        return [item for part in parts for item in part]
    return first
