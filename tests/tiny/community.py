"""Checkpoints in one file, as communities share them, made of toys whose proportions are those of the published models.

The names are written by an inverse of our own; diffusers' conversion, which the studio reads with, meets it here.
"""

import re
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from pipelines.models.clip_words import WORDS, tokenizer
from pipelines.models.sgm import sgm_name, sgm_names
from pipelines.models.single_file import LEVELS, READERS, SCALES

WIDTH = 64  # of a text encoder: one head
VAE_NAMES = (  # diffusers' -> ldm's
    (r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block."), (r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample."),
    (r"up_blocks\.(\d+)\.resnets\.", r"up.\1.block."), (r"up_blocks\.(\d+)\.upsamplers\.0\.", r"up.\1.upsample."),
    (r"mid_block\.resnets\.0\.", "mid.block_1."), (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.group_norm\.", "mid.attn_1.norm."), (r"mid_block\.attentions\.0\.to_out\.0\.", "mid.attn_1.proj_out."),
    (r"mid_block\.attentions\.0\.to_([qkv])\.", r"mid.attn_1.\1."), (r"conv_norm_out", "norm_out"), (r"conv_shortcut", "nin_shortcut"),
)  # fmt: skip
OPEN_CLIP_NAMES = (  # transformers' -> OpenCLIP's
    (r"^encoder\.layers\.", "transformer.resblocks."), (r"layer_norm([12])\.", r"ln_\1."), (r"mlp\.fc1", "mlp.c_fc"),
    (r"mlp\.fc2", "mlp.c_proj"), (r"self_attn\.out_proj", "attn.out_proj"), (r"^final_layer_norm", "ln_final"),
    (r"^embeddings\.token_embedding\.weight", "token_embedding.weight"), (r"^embeddings\.position_embedding\.weight", "positional_embedding"),
)  # fmt: skip


def painter(base: str, inpaints: bool = False) -> UNet2DConditionModel:
    shared: dict[str, Any] = {
        "layers_per_block": 1, "sample_size": 32, "in_channels": 9 if inpaints else 4, "norm_num_groups": 32,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }  # fmt: skip
    if base == "sd1":
        return UNet2DConditionModel(
            block_out_channels=(32, 64), cross_attention_dim=WIDTH, attention_head_dim=8, **shared
        )
    shared |= {"block_out_channels": (64, 128), "attention_head_dim": (1, 2), "use_linear_projection": True}
    if base == "sd2":
        return UNet2DConditionModel(cross_attention_dim=WIDTH, **shared)
    sizes = {"sdxl": 6, "refiner": 5}[base]
    return UNet2DConditionModel(
        cross_attention_dim=2 * WIDTH if base == "sdxl" else WIDTH, transformer_layers_per_block=(1, 2), addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=8 * sizes + WIDTH, **shared,
    )  # fmt: skip


def reader(prefix: str, base: str) -> CLIPTextModel | CLIPTextModelWithProjection:
    opened = prefix.endswith(".model.")
    settings = CLIPTextConfig(
        vocab_size=WORDS, hidden_size=WIDTH, intermediate_size=96, num_hidden_layers=2, num_attention_heads=1, projection_dim=WIDTH,
        hidden_act="gelu" if opened else "quick_gelu", bos_token_id=WORDS - 2, eos_token_id=WORDS - 1, pad_token_id=WORDS - 1,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if opened and base != "sd2" else CLIPTextModel)(settings).eval()


def autoencoder(scale: float, seed: int = 0) -> AutoencoderKL:
    torch.manual_seed(seed)
    return AutoencoderKL(
        block_out_channels=(32, 64), latent_channels=4, norm_num_groups=32, sample_size=64, scaling_factor=scale,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
    ).eval()  # fmt: skip


def checkpoint(folder: Path, base: str, prediction: str = "epsilon", seed: int = 1, inpaints: bool = False) -> Any:
    """diffusers' own pipeline of a toy of `base`, saved in `folder` in the diffusers layout."""
    vae = autoencoder(SCALES[base])
    torch.manual_seed(seed)
    unet, readers = painter(base, inpaints).eval(), [reader(prefix, base) for prefix, _ in READERS[base]]
    words = [tokenizer(pad) for _, pad in READERS[base]]
    shared = {
        "vae": vae,
        "unet": unet,
        "scheduler": DDIMScheduler(**LEVELS, clip_sample=False, prediction_type=prediction),
    }
    if base in ("sd1", "sd2"):
        pipe: Any = StableDiffusionPipeline(
            text_encoder=readers[0], tokenizer=words[0], safety_checker=None, feature_extractor=None,
            requires_safety_checker=False, **shared,
        )  # fmt: skip
    elif base == "sdxl":
        pipe = StableDiffusionXLPipeline(
            text_encoder=readers[0], text_encoder_2=readers[1], tokenizer=words[0], tokenizer_2=words[1], add_watermarker=False, **shared
        )  # fmt: skip
    else:
        pipe = StableDiffusionXLImg2ImgPipeline(
            text_encoder=None, tokenizer=None, text_encoder_2=readers[0], tokenizer_2=words[0], requires_aesthetics_score=True,
            force_zeros_for_empty_prompt=False, add_watermarker=False, **shared,
        )  # fmt: skip
    pipe.save_pretrained(folder)
    return pipe


def one_file(pipe: Any, path: Path, base: str, **notes: str) -> Path:
    """The same weights in one file in the layout of `base`."""
    names = sgm_names(pipe.unet)
    held = {f"model.diffusion_model.{sgm_name(name, names)}": value for name, value in pipe.unet.state_dict().items()}
    held |= {f"first_stage_model.{name}": value for name, value in ldm_autoencoder(pipe.vae).items()}
    readers = [each for each in (pipe.text_encoder, getattr(pipe, "text_encoder_2", None)) if each is not None]
    for (prefix, _), each in zip(READERS[base], readers, strict=True):
        own = open_clip(each, base) if prefix.endswith(".model.") else clip(each)
        held |= {f"{prefix}{name}": value for name, value in own.items()}
    save_file({name: value.contiguous().clone() for name, value in held.items()}, path, notes or None)
    return path


def ldm_autoencoder(vae: AutoencoderKL) -> dict[str, Tensor]:
    levels, held = len(vae.config.block_out_channels), {}
    for name, value in vae.state_dict().items():
        theirs = name
        for ours, other in VAE_NAMES:
            theirs = re.sub(ours, other, theirs)
        theirs = re.sub(r"\.up\.(\d+)\.", lambda each: f".up.{levels - 1 - int(each[1])}.", theirs)
        attends = ".attn_1." in theirs and value.dim() == 2
        held[theirs] = value[..., None, None] if attends else value
    return held


def clip(encoder: nn.Module) -> dict[str, Tensor]:
    own = encoder.state_dict()
    return {name if name.startswith("text_model.") else f"text_model.{name}": value for name, value in own.items()}


def open_clip(encoder: nn.Module, base: str) -> dict[str, Tensor]:
    own = {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}
    held = {"text_projection": own.pop("text_projection.weight", torch.eye(WIDTH)).T}
    for name in [each for each in own if ".q_proj." in each]:
        head, _, end = name.partition("self_attn.q_proj.")
        stacked = torch.cat([own.pop(f"{head}self_attn.{each}_proj.{end}") for each in "qkv"])
        own[f"{head}attn.in_proj_{end}"] = stacked
    for name, value in own.items():
        theirs = name
        for ours, other in OPEN_CLIP_NAMES:
            theirs = re.sub(ours, other, theirs)
        held[theirs] = value
    if base == "sd2":  # a last layer, whose answer nobody reads
        held |= {
            name.replace("resblocks.1.", "resblocks.2."): value
            for name, value in held.items()
            if "resblocks.1." in name
        }
    return held
