"""LoRAs of FLUX.1 under the names of its first code, where one layer is several of diffusers': each gets its rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from torch import Tensor

Place = tuple[str, str]  # network, plain name of a layer
RATIO = 4  # of a single block's MLP to its width; its first layer is query, key, value and the way into the MLP
DOUBLE = {  # theirs -> diffusers', several where rows are split
    "img_attn_qkv": "attn_to_q attn_to_k attn_to_v", "txt_attn_qkv": "attn_add_q_proj attn_add_k_proj attn_add_v_proj",
    "img_attn_proj": "attn_to_out_0", "txt_attn_proj": "attn_to_add_out", "img_mlp_0": "ff_net_0_proj",
    "img_mlp_2": "ff_net_2", "txt_mlp_0": "ff_context_net_0_proj", "txt_mlp_2": "ff_context_net_2",
    "img_mod_lin": "norm1_linear", "txt_mod_lin": "norm1_context_linear",
}  # fmt: skip
SINGLE = {"linear1": "attn_to_q attn_to_k attn_to_v proj_mlp", "linear2": "proj_out", "modulation_lin": "norm_linear"}
BLOCKS = {"double_blocks": ("transformer_blocks", DOUBLE), "single_blocks": ("single_transformer_blocks", SINGLE)}


def unfused(layers: Mapping[Place, dict[str, Tensor]]) -> dict[Place, dict[str, Tensor]]:
    """The same layers, those of FLUX's first code under diffusers' names. Raises RuntimeError at odd rows."""
    return dict(pair for place, tensors in layers.items() for pair in _split(place, tensors))


def _split(place: Place, tensors: dict[str, Tensor]) -> Iterator[tuple[Place, dict[str, Tensor]]]:
    network, name = place
    names = _named(name)
    if not names or "up" not in tensors:
        yield place, tensors
        return
    rows = len(tensors["up"])
    width = rows // (3 + RATIO if len(names) == 4 else len(names))
    sizes = [width, width, width, rows - 3 * width] if len(names) == 4 else [width] * len(names)
    sliced = {role: in_pieces(value, sizes) for role, value in tensors.items() if role in ("up", "magnitude")}
    for k, theirs in enumerate(names):
        own = {role: sliced[role][k] if role in sliced else value for role, value in tensors.items()}
        yield (network, theirs), own


def _named(name: str) -> list[str]:
    """diffusers' names of what one of their layers holds, in order of rows; empty for names of others."""
    found = re.fullmatch(r"(double_blocks|single_blocks)_(\d+)_(\w+)", name)
    if found is None:
        return []
    start, layers = BLOCKS[found[1]]
    return [f"{start}_{found[2]}_{each}" for each in layers.get(found[3], "").split()]


def in_pieces(value: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """Rows in pieces of these sizes."""
    return value.split(sizes)  # type: ignore[no-untyped-call, no-any-return]
