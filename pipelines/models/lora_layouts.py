"""LoRA files of kohya's, diffusers' and peft's layouts, read into one form. It puts nothing on any network."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from pipelines.errors import BadCheckpoint
from pipelines.models import lycoris, sparse
from pipelines.models.headers import notes
from pipelines.models.lora import Gain, Lora, LowRank
from pipelines.models.lora_flux import unfused

ROLES = {  # how the keys of a layer's tensors end, over all layouts; the rest is the layer's name
    "down": r"(\.lora_down|\.lora_A(\.default)?|[._]lora\.down|\.lora_linear_layer\.down)\.weight",
    "up": r"(\.lora_up|\.lora_B(\.default)?|[._]lora\.up|\.lora_linear_layer\.up)\.weight",
    "alpha": r"\.alpha",
    "magnitude": r"(\.dora_scale|\.lora_magnitude_vector(\.default)?(\.weight)?)",
    **{role: rf"\.{role}(\.default)?" for role in lycoris.ROLES},
    **{role: rf"\.{role}" for role in (*sparse.ROLES, sparse.DENSE)},
}
STARTS = (  # how the keys of a network begin, over all layouts -> which network
    ("lora_unet_", "net"), ("lora_transformer_", "net"), ("lora_te1_", "text"), ("lora_te2_", "text_2"),
    ("lora_te_", "text"), ("unet.", "net"), ("transformer.", "net"), ("diffusion_model.", "net"),
    ("text_encoder_2.", "text_2"), ("text_encoder.", "text"), ("base_model.model.", "net"),
)  # fmt: skip
BUNDLE, VECTORS = "bundle_emb.", "vectors"  # words that come with layers, as A1111's web UI has them
BUNDLED = {"text": "clip_l", "text_2": "clip_g"}  # in files for two encoders; else the ending is SINGLE
SINGLE = "string_to_param.*"
OLDER = (  # names of layers in diffusers' first layout -> today's, in a text encoder and elsewhere
    (r"_self_attn_to_([qkv])$", r"_self_attn_\1_proj"), (r"_self_attn_to_out$", "_self_attn_out_proj"),
    (r"_processor_", "_"), (r"(_attn[12])_to_out$", r"\1_to_out_0"),
)  # fmt: skip


def load_lora(path: Path, number_type: torch.dtype) -> Lora:
    """The LoRA, LoHa or LoKr in a safetensors file of kohya's, diffusers' or peft's layout. Raises BadCheckpoint."""
    told = _told(path)
    gathered: dict[tuple[str, str], dict[str, Tensor]] = {}
    for key, value in load_file(path).items():
        place, role = split(key)
        if role == VECTORS:
            continue
        gathered.setdefault(place, {})[role] = value
    layers: dict[tuple[str, str], Gain] = {}
    for place, tensors in unfused(gathered).items():
        try:
            layers[place] = _layer(place, tensors, told, number_type)
        except KeyError:
            raise BadCheckpoint(
                f"{path.name} is damaged: its layer {place[1][:80]} has only half of its weights."
            ) from None
    return Lora(layers)


def _layer(place: tuple[str, str], tensors: dict[str, Tensor], told: _Told, number_type: torch.dtype) -> Gain:
    magnitude, alpha = tensors.get("magnitude"), tensors.get("alpha")
    magnitude = None if magnitude is None else magnitude.to(number_type)
    if set(tensors) & set(lycoris.ROLES):
        return lycoris.Product(tensors, alpha, number_type, magnitude)
    if set(tensors) & set(sparse.ROLES):
        return sparse.Sparse.read(tensors, number_type)
    if sparse.DENSE in tensors:
        return sparse.Sparse.dense(tensors[sparse.DENSE], number_type)
    down, up = (tensors[role].to(number_type) for role in ("down", "up"))
    return LowRank(down, up, told.scale(place, len(down), alpha), magnitude)


def split(key: str) -> tuple[tuple[str, str], str]:
    """(network, plain name of the layer), role of the tensor. Raises BadCheckpoint at a key of no known layout."""
    if key.startswith(BUNDLE):
        return (next((place for place, end in BUNDLED.items() if key.endswith(f".{end}")), "text"), ""), VECTORS
    for role, end in ROLES.items():
        found = re.search(f"{end}$", key)
        if found:
            return placed(key[: found.start()]), role
    raise BadCheckpoint(f"The LoRA holds {key[:80]!r}, a kind of weight the studio cannot apply.")


def bundle(path: Path, place: str) -> Tensor | None:
    """The vectors (n, D) of the word that a file brings along, for one text encoder; None where it brings none."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        keys = [key for key in file.keys() if key.startswith(BUNDLE) and split(key)[0][0] == place]  # noqa: SIM118
        return file.get_tensor(keys[0]) if keys else None


def bundled(word: str, vectors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The vectors of a word by encoder, under the names that files have for them."""
    ends = BUNDLED if len(vectors) > 1 else dict.fromkeys(vectors, SINGLE)
    return {f"{BUNDLE}{word}.{ends[place]}": each for place, each in vectors.items()}


def peft_settings(start: str, ranks: dict[str, int]) -> dict[str, str]:
    """What peft reads beside a file's weights, by the ranks of its layers: every alpha equals its rank."""
    if not ranks:
        return {}
    most = max(ranks.values())
    odd = {name: rank for name, rank in ranks.items() if rank != most}
    said = {"r": most, "lora_alpha": most, "target_modules": sorted(ranks), "rank_pattern": odd, "alpha_pattern": odd}
    return {"lora_adapter_metadata": json.dumps({f"{start}.{name}": each for name, each in said.items()})}


def placed(name: str) -> tuple[str, str]:
    """The network a layer belongs to, and its plain name: underscores for dots, in today's spelling."""
    start, network = next(((start, each) for start, each in STARTS if name.startswith(start)), ("", "net"))
    plain = name.removeprefix(start).removeprefix("base_model.model.").replace(".", "_")
    for older, newer in OLDER:
        plain = re.sub(older, newer, plain)
    return network, plain.removeprefix("text_model_")


@dataclass(frozen=True)
class _Told:
    """What peft wrote into the file's metadata: alphas that its keys do not hold."""

    settings: dict[str, Any]

    def scale(self, place: tuple[str, str], rank: int, alpha: Tensor | None) -> float:
        if alpha is not None:
            return float(alpha) / rank
        start = {"net": ("unet", "transformer"), "text": ("text_encoder",), "text_2": ("text_encoder_2",)}[place[0]]
        said = {key.partition(".")[2]: value for key, value in self.settings.items() if key.partition(".")[0] in start}
        own = [value for name, value in (said.get("alpha_pattern") or {}).items() if _ends(place[1], name)]
        number = float(own[0] if own else said.get("lora_alpha") or rank)
        return number / rank**0.5 if said.get("use_rslora") else number / rank


def _ends(plain: str, pattern: str) -> bool:
    return plain.endswith(pattern.replace("text_model.", "").replace(".", "_"))


def _told(path: Path) -> _Told:
    try:
        settings = json.loads(notes(path).get("lora_adapter_metadata", "{}"))
    except (ValueError, RecursionError):
        settings = {}
    return _Told(settings if isinstance(settings, dict) else {})
