"""Names of a UNet's layers in the code it was first published in (ldm, later sgm), which community files keep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

INSIDE = {  # of a residual block: diffusers' name -> theirs
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip


def sgm_names(unet: Any) -> dict[str, str]:
    """diffusers' name of a block -> its name in sgm, for every block of a UNet2DConditionModel that both have."""
    return dict([*ENDS.items(), *_down(unet), *_middle(unet), *_up(unet)])


def sgm_name(name: str, blocks: dict[str, str]) -> str | None:
    """The name in sgm of a layer or tensor, from `sgm_names`; None where it has none."""
    block = next((each for each in blocks if name == each or name.startswith(f"{each}.")), None)
    if block is None:
        return None
    rest = name[len(block) :]
    for ours, theirs in INSIDE.items() if ".resnets." in block else ():
        if rest.startswith(f".{ours}.") or rest == f".{ours}":
            rest = f".{theirs}{rest[len(ours) + 1 :]}"
            break
    return blocks[block] + rest


def _down(unet: Any) -> Iterator[tuple[str, str]]:
    at = 0
    for i, block in enumerate(unet.down_blocks):
        for j in range(len(block.resnets)):
            at += 1
            yield f"down_blocks.{i}.resnets.{j}", f"input_blocks.{at}.0"
            yield f"down_blocks.{i}.attentions.{j}", f"input_blocks.{at}.1"
        if block.downsamplers:
            at += 1
            yield f"down_blocks.{i}.downsamplers.0.conv", f"input_blocks.{at}.0.op"


def _middle(unet: Any) -> Iterator[tuple[str, str]]:
    if unet.mid_block is not None:
        yield "mid_block.resnets.0", "middle_block.0"
        yield "mid_block.attentions.0", "middle_block.1"
        yield "mid_block.resnets.1", "middle_block.2"


def _up(unet: Any) -> Iterator[tuple[str, str]]:
    at = 0
    for i, block in enumerate(unet.up_blocks):
        attends = bool(getattr(block, "attentions", None))
        for j in range(len(block.resnets)):
            yield f"up_blocks.{i}.resnets.{j}", f"output_blocks.{at}.0"
            yield f"up_blocks.{i}.attentions.{j}", f"output_blocks.{at}.1"
            at += 1
        if block.upsamplers:
            yield f"up_blocks.{i}.upsamplers.0.conv", f"output_blocks.{at - 1}.{2 if attends else 1}.conv"
