"""Any pipeline of `diffusers` that draws noise as a generator: latents in, images, video or sound out."""

from __future__ import annotations

import ast
import copy
import math
from collections.abc import Sequence
from pathlib import Path as Folder
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

import torch
from jaxtyping import Float
from torch import Tensor

from zmax.core.errors import CapabilityError, InputError, MissingExtraError
from zmax.core.generator import DiffusionGenerator, Schedule
from zmax.core.space import Block, LatentsLike, Space
from zmax.generators.diffusers.call import SCALE, SCORE, SCORE_AWAY, Call
from zmax.generators.diffusers.levels import UnknownLevels
from zmax.generators.diffusers.run import PipelineRun
from zmax.generators.diffusion.path import Path, PathSpace
from zmax.generators.diffusion.steps import spread_over
from zmax.generators.words import Template, choices, numbered

PipelineT = TypeVar("PipelineT", bound="OfPipeline")


class OfPipeline(DiffusionGenerator):
    """What a pipeline gives besides its own images: its network, its ending, and a path with fresh noise.

    Args:
        run: the pipeline as functions of its noises.
        name: how reports call it.
    """

    def __init__(self, run: PipelineRun, *, name: str) -> None:
        self._run, self.name = run, name
        self.networks, self.differentiable, self.prompts = run.networks, run.found.differentiable, run.prompts
        self.modality, self.remarks = run.found.modality, run.found.remarks

    @property
    def pipe(self) -> Any:
        """The pipeline of `diffusers`, with the networks of this generator."""
        return self._run.pipe

    def denoise(self, x_t: Float[Tensor, "n ..."], t: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        """Return E[x_0 | x_t] by the pipeline's network, guidance included: one evaluation a sample, or two with it."""
        return denoised(self._run, x_t, t)

    def finish(self, x_0: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Decode clean latents to samples (images in [0, 1]), by the end of the pipeline's own call."""
        return self._run.finish(x_0)

    @property
    def guided(self) -> bool:
        """Whether the pipeline's call has a scale of guidance."""
        return self._run.arguments.takes(SCALE)

    @property
    def askable(self) -> bool:
        """Whether the pipeline is told a score by an argument of its own, and heeds it: see :meth:`at`."""
        return self._run.arguments.takes(SCORE) and bool(self.pipe.config.get("requires_aesthetics_score"))

    def at(self: PipelineT, score: float | None, away_from: float | None = None, guidance: float = 0.0) -> PipelineT:
        """Return the same pipeline asked for a score by its own argument, as SDXL's refiner is for an aesthetic score.

        Args:
            score: `aesthetic_score` of its call; as it is if None.
            away_from: `negative_aesthetic_score`; as it is if None.
            guidance: is added to `guidance_scale`.

        Raises:
            CapabilityError: the pipeline takes no such arguments, or does not heed them.
        """
        if not self.askable or (guidance and not self.guided):
            raise CapabilityError(
                f"a score asked of the pipeline {type(self.pipe).__name__!r}",
                expected=f"a call with {SCORE}, and requires_aesthetics_score in its configuration",
                got="none that it heeds" if not self.askable else f"no {SCALE}",
                remedy="train it to be asked: zmax.condition(G, S)",
            )
        asked = {SCORE: score, SCORE_AWAY: away_from}
        asked[SCALE] = self._run.arguments.value(SCALE) + guidance if guidance else None
        given = {key: float(value) for key, value in asked.items() if value is not None}
        made = copy.copy(self)
        made._run = self._run.asked(given)
        if self.source:
            made.source = f"{self.source}{'&' if '?' in self.source else '?'}{urlencode(given)}"
        return made

    def stochastic(self, eta: float = 1.0) -> DiffusersPath:
        """Return the same model on 2M steps of our own with fresh noise, at the times of the pipeline's scheduler."""
        made = DiffusersPath(self._run, eta=eta, name=self.name)
        made.source = self.source
        return made

    def _move(self, device: str) -> None:
        self._run.to(device)


class DiffusersGenerator(OfPipeline):
    """A pipeline of diffusers; made by :func:`from_diffusers`.

    Latents are the noises the pipeline draws: "noise", the first one; "injected", those of a stochastic scheduler; and
    with several prompts "prompt", which of them, one-hot and each as likely; with several slots "prompt_1" and so on.
    Noises that a scheduler draws and multiplies by zero are no latents, nor is a noise that a batch shares, such as an
    autoencoder's for the picture that an image-to-image pipeline sets out from: it is held at one draw. Decoding is the
    pipeline's own call.

    Args:
        run: the pipeline as functions of its noises.
        prompts: their number, or that of the alternatives of each slot.
        name: how reports call it.
    """

    def __init__(self, run: PipelineRun, *, prompts: tuple[int, ...], name: str) -> None:
        super().__init__(run, name=name)
        self._prompts = prompts
        self.schedule: Schedule = run.levels or UnknownLevels(run.scheduler_name)
        noises = _noise_blocks([shape for shape, matters in run.draws if matters])
        self.space = Space((*noises, *choices(prompts, "prompt", one_hot=True)))

    def decode(self, z: LatentsLike) -> Float[Tensor, "n ..."]:
        """Return the samples (images in [0, 1]) that the pipeline's call makes of its noises."""
        z = self.space.batch(z)
        parts = {self.space.blocks[0].name: z} if isinstance(z, Tensor) else z
        noises: list[Tensor] = []
        for block in [block for block in self.space.blocks if block.noise]:
            noises += parts[block.name].unbind(1) if block.name == "injected" else [parts[block.name]]
        return self._run.images(noises, numbered(self._prompts, "prompt", parts))

    def denoise(self, x_t: Float[Tensor, "n ..."], t: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        """Return E[x_0 | x_t] by the pipeline's network, guidance included: one evaluation a sample, or two with it.

        Raises:
            CapabilityError: there are several prompts, the scheduler's noise levels are not known, or the pipeline does
                more on its way than its scheduler's steps.
        """
        self._steerable()
        return super().denoise(x_t, t)

    def stochastic(self, eta: float = 1.0) -> DiffusersPath:
        """Return the same model on 2M steps of our own with fresh noise, at the times of the pipeline's scheduler.

        Raises:
            CapabilityError: there are several prompts, the scheduler's noise levels are not known, or the pipeline does
                more on its way than its scheduler's steps.
        """
        self._steerable()
        return super().stochastic(eta)

    def _steerable(self) -> None:
        if max(self._prompts) > 1:
            remedy = "one generator a prompt: from_diffusers(pipe, prompt=...)"
            raise CapabilityError(
                "a path with several prompts", expected="one prompt", got=math.prod(self._prompts), remedy=remedy
            )
        if why := self._run.found.no_path:
            remedy = "search its noise: decoding works"
            raise CapabilityError(f"a path of the pipeline {type(self.pipe).__name__!r}", got=why, remedy=remedy)
        self.schedule.alpha(torch.ones(1))


class DiffusersPath(OfPipeline):
    """A pipeline's network and ending on our own path (SDE-DPM-Solver++(2M)), all of whose noises are latents.

    Args:
        run: the pipeline as functions of its noises.
        eta: share of fresh noise, in [0, 1].
        name: how reports call it.
    """

    space: PathSpace

    def __init__(self, run: PipelineRun, *, eta: float, name: str) -> None:
        assert run.levels is not None, "DiffusersGenerator.stochastic has checked"
        super().__init__(run, name=name)
        self.schedule = run.levels
        self._origin = run.found.origin
        self.space = PathSpace.along(Path(self.schedule, run.steps, eta, run.draws[run.found.initial[0]][0]))

    def denoise(self, x_t: Float[Tensor, "n ..."], t: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        """Return E[x_0 | x_t] by the pipeline's network, where x is counted from what the pipeline sets out from."""
        if self._origin is None:
            return super().denoise(x_t, t)
        origin = self._origin.to(x_t)
        return super().denoise(x_t + spread_over(self.schedule.alpha(t.to(x_t)), x_t) * origin, t) - origin

    def finish(self, x_0: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Decode clean latents, counted from what the pipeline sets out from, to samples."""
        return super().finish(x_0 if self._origin is None else x_0 + self._origin.to(x_0))

    def decode(self, z: LatentsLike) -> Float[Tensor, "n ..."]:
        """Go along the path from its noises, a tensor or `{"noise": ..., "injected": ...}`, and finish."""
        return self.finish(self.space.path.follow(self.denoise, self.space.batch(z)))


def from_diffusers(
    pipe: Any, prompt: str | Sequence[str] | None = None, *, name: str = "", **call: Any
) -> DiffusersGenerator:
    """Wrap a pipeline of `diffusers`.

    Images come from the pipeline's own call, and gradients pass through all of it: scheduler, guidance, autoencoder.
    The call runs once with an idle network, to find out which noises the pipeline draws. No module is moved or
    changed. For gradients that fit into memory: `pipe.unet.requires_grad_(False)` and
    `pipe.unet.enable_gradient_checkpointing()`.

    Args:
        pipe: the pipeline, on its device and in its dtype, perhaps with offloading.
        prompt: a text; several texts, or alternatives in one, "a {red|blue} hat", are part of the latents.
        name: how reports call it; the pipeline's class if "".
        call: further arguments of the pipeline's call, such as `num_inference_steps`, `guidance_scale`, `height`,
            `negative_prompt`, or `callback_on_step_end` for previews.

    Raises:
        InputError: the pipeline takes no such argument.
        CapabilityError: it has no network that denoises, or draws no noise.

    Example:
        >>> import zmax
        >>> pipe = zmax.testing.tiny_pipeline("stable-diffusion")
        >>> G = zmax.generators.from_diffusers(pipe, prompt="a red hat", num_inference_steps=2)
        >>> z = G.space.latents(G.space.sample(3, torch.Generator().manual_seed(0)))
        >>> G.decode(z).shape
        torch.Size([3, 3, 16, 16])
    """
    _require_diffusers()
    template = Template.read(prompt) if isinstance(prompt, str) else Template((), ())
    arguments = Call(pipe, template.every() if template.slots else prompt, call)
    run = PipelineRun(pipe, arguments)
    return DiffusersGenerator(run, prompts=template.levels or (arguments.choices,), name=name or type(pipe).__name__)


def load_diffusers(where: str = "") -> DiffusersGenerator:
    """Load a pipeline saved by `save_pretrained`, or one of a model hub.

    Args:
        where: a folder or an id, perhaps with arguments of the call: "my-model?prompt=a red hat&num_inference_steps=4".

    Raises:
        InputError: no pipeline is there, or only weights that are not safetensors.
        MissingExtraError: `diffusers` is not installed.
    """
    _require_diffusers()
    from diffusers import DiffusionPipeline

    place, _, query = where.partition("?")
    if not place:
        raise InputError("the generator diffusers:DIR_OR_ID needs a pipeline", expected="a folder, or an id of a hub")
    call: dict[str, Any] = {key: _value(text) for key, text in parse_qsl(query, keep_blank_values=True)}
    prompt = call.pop("prompt", None)
    try:
        pipe = DiffusionPipeline.from_pretrained(place, local_files_only=Folder(place).is_dir(), use_safetensors=True)
    except (OSError, ValueError) as error:
        got = f"{type(error).__name__}: {error}"
        raise InputError(
            f"no diffusers pipeline in {place!r}", expected="model_index.json and weights", got=got
        ) from error
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False)
    return from_diffusers(pipe, None if prompt is None else str(prompt), name=Folder(place).name, **call)


def denoised(run: PipelineRun, x_t: Float[Tensor, "n ..."], t: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
    """Denoise each row at its own time; rows of one time go together."""
    times = t.double().expand(len(x_t))
    if len(x_t) and bool((times == times[0]).all()):
        return run.denoise(x_t, float(times[0]))
    groups = [(times == time).nonzero().flatten() for time in times.unique()]
    parts = [run.denoise(x_t[rows], float(times[rows[0]])) for rows in groups]
    return torch.cat(parts)[torch.cat(groups).argsort()] if parts else x_t


def _noise_blocks(shapes: Sequence[tuple[int, ...]]) -> list[Block]:
    first, *others = shapes
    blocks = [Block("noise", first, noise=True)]
    if others and len(set(others)) == 1:
        return [*blocks, Block("injected", (len(others), *others[0]), noise=True, steps=True)]
    return [*blocks, *(Block(f"injected_{i}", shape, noise=True) for i, shape in enumerate(others))]


def _value(text: str) -> Any:
    """Return a whole number, a number, True, False or None as such, anything else as text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _require_diffusers() -> None:
    try:
        import diffusers  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(str(error.name), "diffusers", "a generator made of a diffusers pipeline") from error
