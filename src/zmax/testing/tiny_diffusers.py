"""Diffusers pipelines of a few thousand random weights, to try out what works with a pipeline where no real one is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from zmax.core.errors import InputError, MissingExtraError
from zmax.core.rng import stream
from zmax.testing.tiny_clip import WORDS

TOKENS = 8


def tiny_pipeline(kind: str, *, dtype: torch.dtype = torch.float32) -> Any:
    """Return a pipeline of `diffusers` with random weights, in evaluation mode; nothing is downloaded.

    It knows nothing, but its images depend on noise and prompt, smoothly, and it runs in milliseconds.

    Args:
        kind: "ddpm" (pixels, no prompt, stochastic), "stable-diffusion" (DDIM, guidance), "sdxl" (Euler), "turbo"
            (one ancestral step of SDXL), "lcm", "pixart" (DPM-Solver, learned variance), "sd3" or "flux" (flows).
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


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = {word: i for i, word in enumerate(("<pad>", "<unk>", *WORDS))}
    core = Tokenizer(models.WordLevel(names, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", unk_token="<unk>", eos_token="<pad>", model_max_length=TOKENS
    )


def _clip(*, projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=8,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        projection_dim=16,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    return CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)


def _t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(vocab_size=8, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))


def _vae(**options: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=16,
        **options,
    )


def _unet(**options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        **{"cross_attention_dim": 16, **options},
    )


LATENT = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
"""The noise levels of Stable Diffusion."""


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
    return _prompted(StableDiffusionPipeline, _unet(), scheduler)


def _lcm() -> Any:
    from diffusers import LatentConsistencyModelPipeline, LCMScheduler

    return _prompted(LatentConsistencyModelPipeline, _unet(time_cond_proj_dim=8), LCMScheduler(**LATENT))


def _prompted(kind: Any, unet: Any, scheduler: Any) -> Any:
    return kind(
        vae=_vae(),
        text_encoder=_clip(),
        tokenizer=_tokenizer(),
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
        vae=_vae(),
        text_encoder=_clip(),
        text_encoder_2=_clip(projected=True),
        tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(),
        unet=_unet(cross_attention_dim=32, addition_embed_type="text_time", **added),
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
        tokenizer=_tokenizer(), text_encoder=_t5(), vae=_vae(), transformer=transformer, scheduler=scheduler
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
        vae=_vae(shift_factor=0.1),
        text_encoder=_clip(projected=True),
        tokenizer=_tokenizer(),
        text_encoder_2=_clip(projected=True),
        tokenizer_2=_tokenizer(),
        text_encoder_3=None,
        tokenizer_3=_tokenizer(),
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
        vae=_vae(shift_factor=0.1),
        text_encoder=_clip(),
        tokenizer=_tokenizer(),
        text_encoder_2=_t5(),
        tokenizer_2=_tokenizer(),
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
}
"""Every kind of tiny pipeline."""
