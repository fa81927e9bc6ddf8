"""Toy checkpoints of the published upscalers, of diffusers' own classes."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    EulerDiscreteScheduler,
    LDMSuperResolutionPipeline,
    StableDiffusionLatentUpscalePipeline,
    StableDiffusionUpscalePipeline,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)

from tests.tiny.checkpoints import text_encoder, tokenizer


def coder(levels: int, **settings: Any) -> AutoencoderKL:
    widths = (8, 16, 16, 16)[:levels]
    return AutoencoderKL(
        block_out_channels=widths, latent_channels=4, norm_num_groups=4, mid_block_add_attention=False,
        down_block_types=["DownEncoderBlock2D"] * levels, up_block_types=["UpDecoderBlock2D"] * levels, **settings,
    ).eval()  # fmt: skip


def x4(folder: Path) -> StableDiffusionUpscalePipeline:
    """Noise of its own is on the small picture, which stands beside the latents."""
    torch.manual_seed(0)
    words = tokenizer()
    net = UNet2DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, sample_size=32, in_channels=7, out_channels=4, norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32, attention_head_dim=8, num_class_embeds=1000,
    )  # fmt: skip
    return _saved(
        StableDiffusionUpscalePipeline(
            vae=coder(3, scaling_factor=0.08333), text_encoder=text_encoder(words).eval(), tokenizer=words, unet=net.eval(),
            low_res_scheduler=DDPMScheduler(), scheduler=DDIMScheduler(prediction_type="v_prediction"),
        ),
        folder,
    )  # fmt: skip


def latent(folder: Path) -> StableDiffusionLatentUpscalePipeline:
    """Latents become twice as large."""
    torch.manual_seed(0)
    words = tokenizer()
    net = UNet2DConditionModel(
        act_fn="gelu", attention_head_dim=8, norm_num_groups=None, block_out_channels=(32, 32, 64, 64), time_cond_proj_dim=160,
        conv_in_kernel=1, conv_out_kernel=1, cross_attention_dim=32, in_channels=8, out_channels=5, mid_block_type=None,
        down_block_types=("KDownBlock2D", *["KCrossAttnDownBlock2D"] * 3),
        up_block_types=(*["KCrossAttnUpBlock2D"] * 3, "KUpBlock2D"),
        resnet_time_scale_shift="scale_shift", time_embedding_type="fourier", timestep_post_act="gelu",
    )  # fmt: skip
    return _saved(
        StableDiffusionLatentUpscalePipeline(
            vae=coder(4), text_encoder=text_encoder(words).eval(), tokenizer=words, unet=net.eval(),
            scheduler=EulerDiscreteScheduler(prediction_type="sample"),
        ),
        folder,
    )  # fmt: skip


def ldm(folder: Path) -> LDMSuperResolutionPipeline:
    """No words at all."""
    torch.manual_seed(0)
    net = UNet2DModel(
        block_out_channels=(32, 64), layers_per_block=1, sample_size=32, in_channels=6, out_channels=3, norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vq = VQModel(
        block_out_channels=(8, 16, 16), latent_channels=3, norm_num_groups=4, num_vq_embeddings=16,
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3,
    )  # fmt: skip
    return _saved(LDMSuperResolutionPipeline(vqvae=vq.eval(), unet=net.eval(), scheduler=DDIMScheduler()), folder)


def _saved(pipe: Any, folder: Path) -> Any:
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder)
    return pipe
