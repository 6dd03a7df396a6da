"""Tiny pipelines of diffusers that set out from more than a text: a drawing, a picture, labels; and sound and video."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from zmax.testing.tiny_parts import LATENT, clip, t5, tokenizer, unet, vae

BARE = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def _parts(**network: Any) -> dict[str, Any]:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(**LATENT, clip_sample=False, set_alpha_to_one=False)
    parts = {"vae": vae(), "text_encoder": clip(), "tokenizer": tokenizer(), "unet": unet(**network)}
    return {**parts, "scheduler": scheduler, **BARE}


def _controlnet() -> Any:
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline

    control = ControlNetModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        conditioning_embedding_out_channels=(4, 8),
        attention_head_dim=2,
        cross_attention_dim=16,
    )
    return StableDiffusionControlNetPipeline(controlnet=control, **_parts())


def _img2img() -> Any:
    from diffusers import StableDiffusionImg2ImgPipeline

    return StableDiffusionImg2ImgPipeline(**_parts())


def _refiner() -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLImg2ImgPipeline

    added = {"addition_time_embed_dim": 4, "projection_class_embeddings_input_dim": 5 * 4 + 16}
    return StableDiffusionXLImg2ImgPipeline(
        vae=vae(),
        text_encoder=None,
        text_encoder_2=clip(projected=True),
        tokenizer=None,
        tokenizer_2=tokenizer(),
        unet=unet(addition_embed_type="text_time", **added),
        scheduler=EulerDiscreteScheduler(**LATENT),
        requires_aesthetics_score=True,
        add_watermarker=False,
    )


def _inpaint() -> Any:
    from diffusers import StableDiffusionInpaintPipeline

    return StableDiffusionInpaintPipeline(**_parts(in_channels=9))


def _masked() -> Any:
    from diffusers import StableDiffusionInpaintPipeline

    return StableDiffusionInpaintPipeline(**_parts())


def _dit() -> Any:
    from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    transformer = DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, out_channels=8, num_layers=1, sample_size=8, norm_num_groups=4
    )
    return DiTPipeline(transformer=transformer, vae=vae(), scheduler=DDIMScheduler(clip_sample=False))


def _kandinsky() -> Any:
    from diffusers import DDPMScheduler, KandinskyV22Pipeline, UNet2DConditionModel, VQModel

    network = UNet2DConditionModel(
        sample_size=8,
        out_channels=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        attention_head_dim=4,
        cross_attention_dim=16,
        encoder_hid_dim=16,
        encoder_hid_dim_type="image_proj",
        addition_embed_type="image",
        resnet_time_scale_shift="scale_shift",
    )
    movq = VQModel(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        num_vq_embeddings=8,
        vq_embed_dim=4,
    )
    return KandinskyV22Pipeline(unet=network, scheduler=DDPMScheduler(), movq=movq)


def _audio() -> Any:
    from diffusers import AutoencoderOobleck, EDMDPMSolverMultistepScheduler, StableAudioDiTModel, StableAudioPipeline
    from diffusers.pipelines.stable_audio.modeling_stable_audio import StableAudioProjectionModel

    transformer = StableAudioDiTModel(
        sample_size=16,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        num_key_value_attention_heads=1,
        out_channels=4,
        cross_attention_dim=16,
        time_proj_dim=8,
        global_states_input_dim=32,
        cross_attention_input_dim=16,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, for its kind of weights
        autoencoder = AutoencoderOobleck(
            encoder_hidden_size=8,
            downsampling_ratios=[2, 4],
            channel_multiples=[1, 2],
            decoder_channels=8,
            decoder_input_channels=4,
            audio_channels=2,
            sampling_rate=16,
        )
    projection = StableAudioProjectionModel(text_encoder_dim=16, conditioning_dim=16, min_value=0, max_value=8)
    return StableAudioPipeline(
        vae=autoencoder,
        text_encoder=t5(),
        projection_model=projection,
        tokenizer=tokenizer(),
        transformer=transformer,
        scheduler=EDMDPMSolverMultistepScheduler(sigma_max=80.0),
    )


def _video() -> Any:
    from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel

    transformer = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=16,
        freq_dim=8,
        ffn_dim=16,
        num_layers=1,
        rope_max_seq_len=8,
    )
    autoencoder = AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    return WanPipeline(
        tokenizer=tokenizer(),
        text_encoder=_umt5(),
        vae=autoencoder,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def _umt5() -> Any:
    from transformers import UMT5Config, UMT5EncoderModel

    return UMT5EncoderModel(UMT5Config(vocab_size=8, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))


CONDITIONED: dict[str, Callable[[], Any]] = {
    "controlnet": _controlnet,
    "img2img": _img2img,
    "refiner": _refiner,
    "inpaint": _inpaint,
    "masked": _masked,
    "dit": _dit,
    "kandinsky": _kandinsky,
    "audio": _audio,
    "video": _video,
}
"""Every kind of these pipelines."""
