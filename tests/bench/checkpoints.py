"""Checkpoints to measure on: the built-in one, and random weights in the size of Stable Diffusion 1.5."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from tests.tiny.checkpoints import tokenizer

KIND = torch.bfloat16


def sd15_size(folder: Path) -> Path:
    """Random weights with the widths of Stable Diffusion 1.5: UNet 860 M, autoencoder 84 M, CLIP 123 M."""
    if (folder / "model_index.json").exists():
        return folder
    torch.manual_seed(0)
    torch.set_default_dtype(KIND)
    try:
        words = tokenizer()
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
            )
        )  # fmt: skip
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
            down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
        )  # fmt: skip
    finally:
        torch.set_default_dtype(torch.float32)
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
        set_alpha_to_one=True,
    )
    pipe = StableDiffusionPipeline(vae, text, words, unet, scheduler, None, None, requires_safety_checker=False)
    pipe.save_pretrained(folder)
    return folder
