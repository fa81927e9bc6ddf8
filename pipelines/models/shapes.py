"""The settings of networks, read off the shapes of their weights: community files hold no config. It opens no file.

What shapes do not say is constant in the published models: groups of 32 channels, heads of 64 (8 heads in SD 1.x).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

GROUPS, HEAD, HEADS = 32, 64, 8
SIX, FIVE = 6, 5  # sizes that SDXL reads, and its refiner, with an aesthetic score for two of them
Shapes = Mapping[str, tuple[int, ...]]


def unet_settings(shapes: Shapes, pooled: int = 0, refines: bool = False) -> dict[str, Any]:
    """Settings of a UNet2DConditionModel from names in sgm's layout, without their prefix.

    `pooled` is the width of the pooled prompt where one is read. Raises KeyError, ValueError at no such network.
    """
    levels = _levels(shapes)
    widths, depths = [width for width, _, _ in levels], [depth for _, _, depth in levels]
    counts = {count for _, count, _ in levels}
    middle = _depth(shapes, "middle_block.1")
    if len(counts) != 1 or [_depth(shapes, f"output_blocks.{k}.1") for k in _starts(counts, levels)] != depths[::-1]:
        raise ValueError("levels of unequal length")
    linear = len(shapes["middle_block.1.proj_in.weight"]) == 2
    settings = {
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "block_out_channels": widths,
        "layers_per_block": counts.pop(),
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in depths[::-1]],
        "transformer_layers_per_block": [*(depth or 1 for depth in depths[:-1]), middle],
        "cross_attention_dim": shapes["middle_block.1.transformer_blocks.0.attn2.to_k.weight"][1],
        "attention_head_dim": [max(width // HEAD, 1) for width in widths] if linear else HEADS,
        "use_linear_projection": linear,
        "norm_num_groups": GROUPS,
    }
    if "label_emb.0.0.weight" in shapes:
        read = shapes["label_emb.0.0.weight"][1]
        settings |= {
            "addition_embed_type": "text_time",
            "projection_class_embeddings_input_dim": read,
            "addition_time_embed_dim": (read - pooled) // (FIVE if refines else SIX),
        }
    return settings


def _levels(shapes: Shapes) -> list[tuple[int, int, int]]:
    """(channels, residual blocks, transformer blocks in each) of every level on the way down."""
    levels: list[tuple[int, int, int]] = [(0, 0, 0)]
    for k in range(1, 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("input_blocks."))):
        if f"input_blocks.{k}.0.op.weight" in shapes:
            levels.append((0, 0, 0))
            continue
        width = shapes[f"input_blocks.{k}.0.in_layers.2.weight"][0]
        levels[-1] = (width, levels[-1][1] + 1, _depth(shapes, f"input_blocks.{k}.1"))
    return levels


def _starts(counts: set[int], levels: list[Any]) -> range:
    """Where each level begins on the way up: one residual block more than on the way down."""
    step = max(counts) + 1
    return range(0, step * len(levels), step)


def _depth(shapes: Shapes, block: str) -> int:
    found = (re.match(rf"{re.escape(block)}\.transformer_blocks\.(\d+)\.", name) for name in shapes)
    return 1 + max((int(each[1]) for each in found if each), default=-1)


def vae_settings(shapes: Shapes, scale: float) -> dict[str, Any]:
    """Settings of an AutoencoderKL from names in ldm's layout or in diffusers', without their prefix."""
    ours = "encoder.down_blocks.0.resnets.0.conv1.weight" in shapes
    block, inside = ("encoder.down_blocks", "resnets") if ours else ("encoder.down", "block")
    found = {
        (int(each[1]), int(each[2]))
        for name in shapes
        if (each := re.match(rf"{block}\.(\d+)\.{inside}\.(\d+)\.", name))
    }
    widths = [shapes[f"{block}.{level}.{inside}.0.conv1.weight"][0] for level in sorted({level for level, _ in found})]
    attends = any(name.startswith(("encoder.mid.attn", "encoder.mid_block.attentions")) for name in shapes)
    return {
        "block_out_channels": widths,
        "layers_per_block": 1 + max(k for _, k in found),
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "mid_block_add_attention": attends,
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
        "norm_num_groups": GROUPS,
        "scaling_factor": scale,
    }


def clip_settings(shapes: Shapes) -> dict[str, Any]:
    """Settings of CLIP's text encoder from names in transformers' layout, or in OpenCLIP's; without their prefix."""
    open_clip = "positional_embedding" in shapes
    inside = r"transformer\.resblocks" if open_clip else r"text_model\.encoder\.layers"
    layers = 1 + max(int(each[1]) for name in shapes if (each := re.match(rf"{inside}\.(\d+)\.", name)))
    words = shapes["token_embedding.weight" if open_clip else "text_model.embeddings.token_embedding.weight"]
    first = "transformer.resblocks.0.mlp.c_fc.weight" if open_clip else "text_model.encoder.layers.0.mlp.fc1.weight"
    return {
        "vocab_size": words[0],
        "hidden_size": words[1],
        "intermediate_size": shapes[first][0],
        "num_hidden_layers": layers,
        "num_attention_heads": max(words[1] // HEAD, 1),
        "hidden_act": "gelu" if open_clip else "quick_gelu",
        "projection_dim": shapes["text_projection"][1] if "text_projection" in shapes else words[1],
        "bos_token_id": words[0] - 2,
        "eos_token_id": words[0] - 1,
        "pad_token_id": words[0] - 1,
    }
