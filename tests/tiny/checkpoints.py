"""Real diffusers classes at toy width, written to a folder on the spot: no downloads, well under a second each."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

WORDS = [
    "a",
    "an",
    "the",
    "photo",
    "of",
    "cat",
    "dog",
    "house",
    "red",
    "blue",
    "green",
    "in",
    "on",
    "and",
    "sky",
    "sea",
]


def tokenizer(length: int = 77) -> CLIPTokenizer:
    """CLIP's byte-pair tokenizer over a handful of words; all else falls into letters."""
    letters = list(bytes_to_unicode().values())
    vocabulary, merges = letters + [each + "</w>" for each in letters], []
    for word in WORDS:
        left, *rest = [*word[:-1], word[-1] + "</w>"]
        for piece in rest:
            merges.append((left, piece))
            left += piece
            vocabulary.append(left)
    ends = ["<|startoftext|>", "<|endoftext|>"]
    known = {token: i for i, token in enumerate(dict.fromkeys(vocabulary + ends))}
    return CLIPTokenizer(vocab=known, merges=list(dict.fromkeys(merges)), pad_token=ends[1], model_max_length=length)


def text_encoder(words: CLIPTokenizer, width: int = 32) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=words.model_max_length, bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
        )
    )  # fmt: skip


def autoencoder(channels: int = 4) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16), latent_channels=channels, norm_num_groups=4, sample_size=64, mid_block_add_attention=False,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
    )  # fmt: skip


def unet(channels: int = 4, text_width: int = 32) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, sample_size=32, in_channels=channels, out_channels=channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=text_width, attention_head_dim=8, norm_num_groups=8,
    )  # fmt: skip


def stable_diffusion(
    folder: Path, seed: int = 0, prediction: str = "epsilon", **scheduler: Any
) -> StableDiffusionPipeline:
    """A Stable Diffusion checkpoint of random weights, saved in `folder`; returns diffusers' own pipeline for it."""
    torch.manual_seed(seed)
    words = tokenizer()
    settings = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "steps_offset": 1,
    }
    pipe = StableDiffusionPipeline(
        vae=autoencoder().eval(), text_encoder=text_encoder(words).eval(), tokenizer=words, unet=unet().eval(),
        scheduler=DDIMScheduler(**settings, set_alpha_to_one=True, prediction_type=prediction, **scheduler),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder)
    return pipe
