"""Tiny pipelines of diffusers that make sound or video, or take the embeddings of another pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zmax.testing.tiny_parts import LATENT, clip, t5, tokenizer, vae


def _dance() -> Any:
    from diffusers import DanceDiffusionPipeline, IPNDMScheduler, UNet1DModel

    network = UNet1DModel(
        block_out_channels=(32, 32, 64),
        extra_in_channels=64,
        sample_size=64,
        sample_rate=16,
        in_channels=2,
        out_channels=2,
        flip_sin_to_cos=True,
        use_timestep_embedding=False,
        time_embedding_type="fourier",
        mid_block_type="UNetMidBlock1D",
        down_block_types=("DownBlock1DNoSkip", "DownBlock1D", "AttnDownBlock1D"),
        up_block_types=("AttnUpBlock1D", "UpBlock1D", "UpBlock1DNoSkip"),
    )
    return DanceDiffusionPipeline(unet=network, scheduler=IPNDMScheduler())


def _video_from_image() -> Any:
    from diffusers import (
        AutoencoderKLTemporalDecoder,
        EulerDiscreteScheduler,
        StableVideoDiffusionPipeline,
        UNetSpatioTemporalConditionModel,
    )
    from transformers import CLIPImageProcessor

    network = UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 32),
        layers_per_block=1,
        sample_size=8,
        in_channels=8,
        out_channels=4,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        cross_attention_dim=16,
        num_attention_heads=2,
        projection_class_embeddings_input_dim=24,
        addition_time_embed_dim=8,
        num_frames=2,
    )
    autoencoder = AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2, latent_channels=4
    )
    return StableVideoDiffusionPipeline(
        vae=autoencoder,
        image_encoder=_vision(),
        unet=network,
        scheduler=EulerDiscreteScheduler(
            **LATENT,
            prediction_type="v_prediction",
            timestep_type="continuous",
            sigma_min=0.002,
            sigma_max=700.0,
            use_karras_sigmas=True,
        ),
        feature_extractor=CLIPImageProcessor(crop_size=16, size={"shortest_edge": 16}),
    )


def _vision() -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        projection_dim=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=224,
        patch_size=112,
    )
    return CLIPVisionModelWithProjection(vision)


def _cascade() -> Any:
    from diffusers import DDPMWuerstchenScheduler, StableCascadeDecoderPipeline
    from diffusers.models.unets.unet_stable_cascade import StableCascadeUNet
    from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel

    network = StableCascadeUNet(
        in_channels=4,
        out_channels=4,
        conditioning_dim=16,
        block_out_channels=(8, 16),
        num_attention_heads=(-1, 2),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1),
        down_blocks_repeat_mappers=(1, 1),
        up_blocks_repeat_mappers=(1, 1),
        block_types_per_layer=(
            ("SDCascadeResBlock", "SDCascadeTimestepBlock"),
            ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),
        ),
        switch_level=None,
        clip_text_pooled_in_channels=16,
        clip_seq=1,
        effnet_in_channels=4,
        pixel_mapper_in_channels=None,
        timestep_ratio_embedding_dim=8,
        timestep_conditioning_type=("sca",),
        dropout=(0.0, 0.0),
        kernel_size=3,
    )
    return StableCascadeDecoderPipeline(
        decoder=network,
        tokenizer=tokenizer(),
        text_encoder=clip(projected=True),
        scheduler=DDPMWuerstchenScheduler(),
        vqgan=PaellaVQModel(bottleneck_blocks=1, levels=2, embed_dim=8, num_vq_embeddings=8, up_down_scale_factor=2),
        latent_dim_scale=2.0,
    )


def _music() -> Any:
    import transformers
    from diffusers import AudioLDM2Pipeline, AudioLDM2ProjectionModel, AudioLDM2UNet2DConditionModel, DDIMScheduler

    kinds: Any = transformers
    network = AudioLDM2UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        cross_attention_dim=(8, 16),
    )
    return AudioLDM2Pipeline(
        vae=vae(in_channels=1, out_channels=1),
        text_encoder=_clap(),
        text_encoder_2=t5(),
        projection_model=AudioLDM2ProjectionModel(text_encoder_dim=16, text_encoder_1_dim=16, langauge_model_dim=16),
        language_model=_gpt2(),
        tokenizer=_of_kind(kinds.RobertaTokenizerFast),
        tokenizer_2=_of_kind(kinds.T5TokenizerFast),
        feature_extractor=kinds.ClapFeatureExtractor(feature_size=8),
        unet=network,
        scheduler=DDIMScheduler(**LATENT, clip_sample=False, set_alpha_to_one=False),
        vocoder=_vocoder(),
    )


def _clap() -> Any:
    from transformers import ClapConfig, ClapModel

    words = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1}
    sounds = {"spec_size": 8, "window_size": 4, "num_mel_bins": 8, "depths": [1], "num_attention_heads": [1]}
    sounds |= {"num_hidden_layers": 1, "hidden_size": 192, "patch_size": 2, "patch_stride": 2}
    return ClapModel(ClapConfig(text_config={**words, "vocab_size": 8}, audio_config=sounds, projection_dim=16))


def _gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_embd=16, n_head=1, n_layer=1, n_positions=32, vocab_size=8, bos_token_id=0, eos_token_id=0)
    config.max_new_tokens = 4
    return GPT2LMHeadModel(config)


def _vocoder() -> Any:
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    config = SpeechT5HifiGanConfig(
        model_in_dim=8,
        sampling_rate=16000,
        upsample_initial_channel=8,
        upsample_rates=[2, 2],
        upsample_kernel_sizes=[4, 4],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        normalize_before=False,
    )
    return SpeechT5HifiGan(config)


def _of_kind(kind: Any) -> Any:
    """Return a tokenizer of a few words that passes for one of that class, as which the pipeline tells it apart."""
    made = tokenizer()
    made.__class__ = kind
    return made


SOUNDS: dict[str, Callable[[], Any]] = {
    "dance": _dance,
    "svd": _video_from_image,
    "cascade": _cascade,
    "music": _music,
}
"""Every kind of these pipelines."""
