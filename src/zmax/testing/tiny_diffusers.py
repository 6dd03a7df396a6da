"""Diffusers pipelines of a few thousand random weights, to try out what works with a pipeline where no real one is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from zmax.core.errors import InputError, MissingExtraError
from zmax.core.rng import stream
from zmax.testing.tiny_conditioned import CONDITIONED
from zmax.testing.tiny_parts import LATENT, clip, t5, tokenizer, unet, vae
from zmax.testing.tiny_sounds import SOUNDS


def tiny_pipeline(kind: str, *, dtype: torch.dtype = torch.float32) -> Any:
    """Return a pipeline of `diffusers` with random weights, in evaluation mode; nothing is downloaded.

    It knows nothing, but its images depend on noise and prompt, smoothly, and it runs in milliseconds.

    Args:
        kind: "ddpm" (pixels, no prompt, stochastic), "stable-diffusion" (DDIM, guidance), "sdxl" (Euler), "turbo"
            (one ancestral step of SDXL), "lcm", "pixart" (DPM-Solver, learned variance), "sd3" or "flux" (flows);
            "controlnet", "img2img", "refiner" (of SDXL, asked for an aesthetic score), "inpaint" (the network sees the
            mask), "masked" (latents are masked at each step), "dit" (class labels), "kandinsky" (image embeddings),
            "audio" (EDM), "video" (a flow), "dance" (sound, no prompt), "music" (sound under a text), "svd" (video from
            a picture), "cascade" (image embeddings under a text).
        dtype: of the weights.

    Returns:
        The pipeline; the same weights at every call.

    Raises:
        InputError: there is no such kind.
        MissingExtraError: `diffusers` or `transformers` is not installed.

    Example:
        >>> images = tiny_pipeline("ddpm")(num_inference_steps=2, output_type="pt").images
        >>> images.shape
        torch.Size([1, 3, 8, 8])
    """
    if kind not in KINDS:
        raise InputError(f"no tiny pipeline is called {kind!r}", expected=", ".join(KINDS))
    try:
        import diffusers  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(str(error.name), "diffusers", "tiny_pipeline") from error
    with torch.random.fork_rng(devices=[]):  # both packages initialise from the global stream
        pipe = KINDS[kind]()
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module):
            _fill(part, name, small=("unet",) if kind == "ddpm" else ("vae",))
            if dtype != torch.float32:
                part.to(dtype)
            part.train(False).requires_grad_(False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _fill(module: torch.nn.Module, name: str, small: tuple[str, ...]) -> None:
    """Draw weights that keep the scale of what passes through, but for the last layers of pictures, which stay small.

    So images are neither grey nor cut off at black and white.
    """
    rng = stream(0, "tiny-diffusers", name)
    with torch.no_grad():
        for key, weight in module.named_parameters():
            draw = torch.randn(weight.shape, generator=rng, device="cpu", dtype=torch.float32)
            if weight.ndim > 1:
                scale = 0.2 if "conv_out" in key and name in small else 1.0
                weight.copy_(scale * draw / math.sqrt(weight[0].numel()))
            else:
                weight.copy_((1.0 if key.endswith("weight") else 0.0) + 0.1 * draw)


def _ddpm() -> Any:
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
    )
    return DDPMPipeline(unet=unet, scheduler=DDPMScheduler(prediction_type="sample"))


def _stable_diffusion() -> Any:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    scheduler = DDIMScheduler(**LATENT, clip_sample=False, set_alpha_to_one=False)
    return _prompted(StableDiffusionPipeline, unet(), scheduler)


def _lcm() -> Any:
    from diffusers import LatentConsistencyModelPipeline, LCMScheduler

    return _prompted(LatentConsistencyModelPipeline, unet(time_cond_proj_dim=8), LCMScheduler(**LATENT))


def _prompted(kind: Any, unet: Any, scheduler: Any) -> Any:
    return kind(
        vae=vae(),
        text_encoder=clip(),
        tokenizer=tokenizer(),
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl() -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    added = {"addition_time_embed_dim": 4, "projection_class_embeddings_input_dim": 6 * 4 + 16}
    return StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=clip(),
        text_encoder_2=clip(projected=True),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=unet(cross_attention_dim=32, addition_embed_type="text_time", **added),
        scheduler=EulerDiscreteScheduler(**LATENT),
        add_watermarker=False,
    )


def _turbo() -> Any:
    from diffusers import EulerAncestralDiscreteScheduler

    pipe = _sdxl()
    pipe.scheduler = EulerAncestralDiscreteScheduler(**LATENT, timestep_spacing="trailing")
    return pipe


def _pixart() -> Any:
    from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    transformer = PixArtTransformer2DModel(
        sample_size=8,
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8,
        cross_attention_dim=16,
        caption_channels=16,
    )
    scheduler = DPMSolverMultistepScheduler()
    return PixArtSigmaPipeline(
        tokenizer=tokenizer(), text_encoder=t5(), vae=vae(), transformer=transformer, scheduler=scheduler
    )


def _sd3() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        out_channels=4,
        pos_embed_max_size=8,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(shift_factor=0.1),
        text_encoder=clip(projected=True),
        tokenizer=tokenizer(),
        text_encoder_2=clip(projected=True),
        tokenizer_2=tokenizer(),
        text_encoder_3=None,
        tokenizer_3=tokenizer(),
    )


def _flux() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        axes_dims_rope=(2, 2, 4),
        guidance_embeds=True,
    )
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae(shift_factor=0.1),
        text_encoder=clip(),
        tokenizer=tokenizer(),
        text_encoder_2=t5(),
        tokenizer_2=tokenizer(),
        transformer=transformer,
    )


KINDS: dict[str, Callable[[], Any]] = {
    "ddpm": _ddpm,
    "stable-diffusion": _stable_diffusion,
    "sdxl": _sdxl,
    "turbo": _turbo,
    "lcm": _lcm,
    "pixart": _pixart,
    "sd3": _sd3,
    "flux": _flux,
    **CONDITIONED,
    **SOUNDS,
}
"""Every kind of tiny pipeline."""
