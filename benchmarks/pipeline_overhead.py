"""What zmax costs over a bare loop round a pipeline of diffusers, in time and peak memory, both sides in one run.

`python -m benchmarks.pipeline_overhead` runs on a tiny pipeline, in a minute on one core; `--size sdxl --device cuda`
on random weights of SDXL-Turbo's size (3.3 billion, bfloat16, 512 x 512) under a reward of ViT-H's. Each task is done
by `zmax.maximize` and by a loop written out here that calls the same pipeline and the same score as often:

- `climb-1`, `climb-8`: one chain, and eight, that follow the gradient through one step, without guidance;
- `black-box`: a population of eight, one step, without guidance;
- `random`: 20 steps with guidance;
- `fk`: four particles, 20 steps with guidance, a preview scored at each step.

The figure is the median over repeats of the ratio of seconds for each score call; peaks are of the device's memory.
"""

from __future__ import annotations

import argparse
import inspect
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import zmax
from zmax.core.rng import stream

RESULT = Path(__file__).parent / "results" / "pipeline_overhead.json"
TASKS = ("climb-1", "climb-8", "black-box", "random", "fk")
TURBO = {"num_inference_steps": 1, "guidance_scale": 0.0}
STEPS = 20
GUIDED = {"num_inference_steps": STEPS, "guidance_scale": 5.0}
Side = Callable[[int], int]
"""least number of score calls -> those made."""


class Reward(nn.Module):
    """Mean of a random ViT's pooled output; of a convolution at tiny size."""

    def __init__(self, size: str) -> None:  # noqa: D107
        super().__init__()
        self.edge = 224 if size == "sdxl" else 16
        self.body = _vit() if size == "sdxl" else nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 196, 4))

    def forward(self, images: Tensor) -> Tensor:
        weight = next(self.parameters())
        shown = nn.functional.interpolate(images.to(weight), self.edge, mode="bilinear", antialias=True)
        made = self.body(shown)
        return getattr(made, "pooler_output", made).float().mean(1)


def _vit() -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=16, patch_size=14
    )
    return CLIPVisionModel(config)


def _unet() -> nn.Module:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 2, 10],
        attention_head_dim=[5, 10, 20],
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )


def pipeline(size: str, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """Return a pipeline of random weights, and what its prompt is given as."""
    if size == "tiny":
        return zmax.testing.tiny_pipeline("turbo", dtype=dtype), {"prompt": "a red hat"}
    from diffusers import (
        AutoencoderKL,
        EulerAncestralDiscreteScheduler,
        StableDiffusionXLPipeline,
    )

    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        sample_size=512,
        scaling_factor=0.13025,
        force_upcast=False,
    )
    scheduler = EulerAncestralDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="trailing"
    )
    none = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    pipe = StableDiffusionXLPipeline(vae=vae, unet=_unet(), scheduler=scheduler, add_watermarker=False, **none)
    pipe.to(dtype)
    rng = stream(0, "prompt")
    told = {
        "prompt_embeds": torch.randn(1, 77, 2048, generator=rng),
        "pooled_prompt_embeds": torch.randn(1, 1280, generator=rng),
    }
    return pipe, {key: value.to(dtype) for key, value in told.items()}


class Tasks:
    """Both sides of every task.

    Args:
        size: "tiny" or "sdxl".
        device: where.
    """

    def __init__(self, size: str, device: str) -> None:  # noqa: D107
        dtype = torch.float32 if size == "tiny" else torch.bfloat16
        self.device = device
        with torch.random.fork_rng():
            torch.manual_seed(0)  # noqa: TID251 - weights of diffusers come from the global stream
            self.pipe, told = pipeline(size, dtype)
            self.reward = Reward(size).to(device, dtype).eval().requires_grad_(False)
        self.told = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in told.items()}
        self.pipe.to(device)
        self.pipe.set_progress_bar_config(disable=True)
        for part in (self.pipe.unet, self.pipe.vae):
            part.requires_grad_(False)
        if size == "sdxl":
            self.pipe.unet.enable_gradient_checkpointing()
        self.turbo, self.guided = (
            zmax.generators.from_diffusers(self.pipe, **self.told, **call) for call in (TURBO, GUIDED)
        )
        self.score = zmax.score(self.reward, differentiable=True, name="reward")
        self.shape = (self.pipe.unet.config.in_channels, *(self.pipe.unet.config.sample_size,) * 2)

    def ours(self, task: str, calls: int) -> int:
        """Do a task with zmax, and return the score calls."""
        generator = self.guided if task in ("random", "fk") else self.turbo
        method, batch, params = {
            "climb-1": ("gradient", 1, {"batch": 1}),
            "climb-8": ("gradient", 8, {"batch": 8}),
            "black-box": ("snes", 8, {"population": 8}),
            "random": ("random", 4, {}),
            "fk": ("fk", 4, {"particles": 4}),
        }[task]
        options = {"seed": 0, "batch_size": batch, "params": params, "progress": False}
        started(self.device)
        return zmax.maximize(generator, self.score, method, calls, **options).ledger.score_calls

    def bare(self, task: str, calls: int) -> int:
        """Do a task with a loop, and return the score calls."""
        started(self.device)
        rng, done, best = stream(0, "bare"), 0, -float("inf")
        rows = {"climb-1": 1, "climb-8": 8, "black-box": 8}.get(task, 4)
        noise = torch.randn(rows, *self.shape, generator=rng)
        while done < calls:
            if task == "fk":
                done += self._particles(rng)
                continue
            if task.startswith("climb"):
                noise = noise.requires_grad_()
                value = self.reward(self._call(noise, TURBO))
                (slope,) = torch.autograd.grad(value.sum(), noise)
                noise = (noise + 0.5 * slope / slope.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)).detach()
            else:
                noise = torch.randn(rows, *self.shape, generator=rng)
                with torch.no_grad():
                    value = self.reward(self._call(noise, GUIDED if task == "random" else TURBO))
            done, best = done + rows, max(best, float(value.max()))
        return done

    def _call(self, noise: Tensor, options: dict[str, Any]) -> Tensor:
        call = inspect.unwrap(type(self.pipe).__call__)
        told = {
            k: v.expand(len(noise), *v.shape[1:]) if isinstance(v, Tensor) else [v] * len(noise)
            for k, v in self.told.items()
        }
        latents = noise.to(self.device, self.pipe.unet.dtype)
        images: Tensor = call(self.pipe, **told, **options, latents=latents, output_type="pt", return_dict=False)[0]
        return images.float()

    @torch.no_grad()
    def _particles(self, rng: torch.Generator) -> int:
        """Steer four particles by previews at each of the pipeline's steps, and return the score calls."""
        scored: list[Tensor] = []
        pipe = self.pipe

        def steer(view: Any, step: int, t: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
            clean = seen.pop()
            image = pipe.vae.decode(clean.to(pipe.vae.dtype) / pipe.vae.config.scaling_factor, return_dict=False)[0]
            value = self.reward((image / 2 + 0.5).clamp(0, 1).float())
            scored.append(value)
            share = torch.softmax(10 * (value - value.max()), 0).cpu()
            return {"latents": given["latents"][torch.multinomial(share, len(value), replacement=True, generator=rng)]}

        seen: list[Tensor] = []
        step = pipe.scheduler.step
        pipe.scheduler.step = lambda *args, **kwargs: _kept(step(*args, **{**kwargs, "return_dict": True}), seen)
        try:
            noise = torch.randn(4, *self.shape, generator=rng)
            self._call(
                noise, {**GUIDED, "callback_on_step_end": steer, "callback_on_step_end_tensor_inputs": ["latents"]}
            )
        finally:
            del pipe.scheduler.step
        return 4 * len(scored)


def _kept(out: Any, seen: list[Tensor]) -> tuple[Tensor]:
    seen.append(out.pred_original_sample)
    return (out.prev_sample,)


def started(device: str) -> None:
    """Begin to measure the device's peak."""
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()


def measured(side: Side, calls: int, device: str) -> tuple[float, float]:
    """Return seconds for each score call, and the peak of memory in GiB, 0 on the CPU."""
    start = time.perf_counter()
    done = side(calls)
    if device != "cpu":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return seconds / done, 0.0 if device == "cpu" else torch.cuda.max_memory_allocated() / 2**30


def main() -> None:
    """Measure, print and write the ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline_overhead")
    parser.add_argument("--size", choices=("tiny", "sdxl"), default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--calls", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tasks = Tasks(options.size, options.device)
    rows: list[dict[str, Any]] = []
    for task in options.tasks:
        calls = 4 * STEPS if task == "fk" else options.calls
        sides = {"ours": lambda n, task=task: tasks.ours(task, n), "bare": lambda n, task=task: tasks.bare(task, n)}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for repeat in range(options.repeats + 1):
            for name, side in sides.items():
                value = measured(side, calls, options.device)
                found[name] += [value] if repeat else []
        ratios = [a[0] / b[0] for a, b in zip(found["ours"], found["bare"], strict=True)]
        peaks = [max(peak for _, peak in found[name]) for name in sides]
        rows.append(
            {
                "task": task,
                "size": options.size,
                "ratio": round(statistics.median(ratios), 3),
                "seconds": {name: round(statistics.median(s for s, _ in found[name]), 5) for name in sides},
                "peak": round(peaks[0] / peaks[1], 3) if peaks[1] else None,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    if options.size == "sdxl":
        RESULT.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
