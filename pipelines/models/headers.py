"""What a weight file is, from its header alone: a checkpoint, a LoRA, an embedding or an autoencoder, and of what base.

Nothing is allocated, nothing is trusted: not the file's name, not its length. It loads no weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipelines.errors import BadCheckpoint
from pipelines.parts import Header, header

What = Literal["checkpoint", "lora", "embedding", "vae", "enlarger"]
BASES = {  # what a file is made for -> its name in a sentence
    "sd1": "Stable Diffusion 1.x", "sd2": "Stable Diffusion 2.x", "sdxl": "SDXL", "refiner": "the SDXL refiner",
    "sd3": "Stable Diffusion 3", "flux": "FLUX.1", "sana": "Sana", "": "another base",
}  # fmt: skip
TEXT_WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl", 1280: "refiner"}  # channels that cross attention reads
PICKLES = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # torch's zip, and bare pickles
DOWN = re.compile(
    r"[._]lora(_down|_A|\.down|_linear_layer\.down)(\.default)?\.weight$|\.(hada_w1_b|lokr_w[12](_b)?)(\.default)?$"
    r"|\.(sparse_values|diff)$"
)
ENLARGER = re.compile(r"(^|\.)conv_first\.weight$|(^|\.)model\.1\.sub\.0\.|^(params(_ema)?\.)?body\.1\.weight$")
TO_KEY = re.compile(r"attn2[._](processor[._])?to_k")
ELSEWHERE = (  # what else people have in such folders: in a name -> what it is
    (r"\.oft_|\.boft|glora|lora_mid", "a LyCORIS adapter of a kind not applied here"),
    (r"^control_model\.|controlnet_|input_hint_block", "a ControlNet"),
    (r"^image_proj|ip_adapter", "an IP-Adapter"),
    (r"motion_modules", "a motion module for films"),
    (r"^(text_model|embeddings|encoder\.layers|transformer\.resblocks)\.|^encoder\.block\.", "a text encoder alone"),
    (r"^(down_blocks|mid_block|up_blocks)\.", "one network of a checkpoint; the studio needs its whole folder"),
    (r"^(double_blocks|single_blocks)\.", "the painter of FLUX alone; the studio needs its diffusers folder"),
    (r"^joint_blocks\.", "the painter of Stable Diffusion 3 alone; the studio needs its diffusers folder"),
    (r"RRDB|^body\.\d|conv_first|^model\.\d+\.sub", "an enlarger"),
)  # fmt: skip


@dataclass(frozen=True)
class Known:
    """What a file turned out to be. `base` is a key of BASES, "" where nothing says; `notes` is its metadata."""

    what: What
    base: str
    header: Header
    notes: dict[str, str] = field(default_factory=dict)


def recognised(path: Path) -> Known:
    """What the file at `path` is. Raises BadCheckpoint with a sentence: a pickle, cut off, lying, of no use here."""
    refuse_pickle(path)
    known = header(path)
    for what, is_one, base in KINDS:
        if is_one(known):
            return Known(what, base(known), known, notes(path))
    for pattern, sentence in ELSEWHERE:
        if any(re.search(pattern, name) for name in known.shapes):
            raise BadCheckpoint(f"{path.name} is {sentence}.")
    raise BadCheckpoint(
        f"{path.name} is neither checkpoint, LoRA, embedding, VAE nor enlarger, as far as its header says."
    )


def refuse_pickle(path: Path) -> None:
    """Raises BadCheckpoint where a file is a pickle by its name or by its first bytes."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise BadCheckpoint(f"{path.name} could not be read: {error.strerror}.") from None
    sized = start[4:] == b"\0\0\0\0{"  # a header of under 4 GB begins: its length may look like a pickle's first bytes
    if path.suffix.lower() in PICKLES or (start.startswith(PICKLE_STARTS) and not sized):
        raise BadCheckpoint(
            f"{path.name} is a pickle, which can run code when it is opened; the studio opens safetensors only. "
            "Fetch the safetensors variant, or convert it where you trust it."
        )


def notes(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file whose header was checked: text by name; what is not text is left out."""
    with path.open("rb") as file:
        said = json.loads(file.read(int.from_bytes(file.read(8), "little"))).get("__metadata__")
    if not isinstance(said, dict):
        return {}
    return {name: value for name, value in said.items() if isinstance(name, str) and isinstance(value, str)}


def _is_checkpoint(known: Header) -> bool:
    return any(name.startswith("model.diffusion_model.") for name in known.shapes)


def _is_lora(known: Header) -> bool:
    return any(DOWN.search(name) or name.startswith("bundle_emb.") for name in known.shapes)


def _is_vae(known: Header) -> bool:
    bare = {name.removeprefix("first_stage_model.").removeprefix("vae.") for name in known.shapes}
    return {"encoder.conv_in.weight", "decoder.conv_in.weight", "decoder.conv_out.weight"} <= bare


def _is_embedding(known: Header) -> bool:
    """One table of vectors, or two for the two encoders of SDXL."""
    return 1 <= len(known.shapes) <= 2 and all(
        len(shape) == 1 or (len(shape) == 2 and 1 <= shape[0] <= 75) for shape in known.shapes.values()
    )


def _checkpoint_base(known: Header) -> str:
    names = known.shapes
    starts = (
        ("conditioner.embedders.1.", "sdxl"), ("conditioner.embedders.0.model.", "refiner"),
        ("cond_stage_model.transformer.", "sd1"), ("cond_stage_model.model.", "sd2"),
        ("model.diffusion_model.double_blocks.", "flux"), ("model.diffusion_model.joint_blocks.", "sd3"),
    )  # fmt: skip
    return next((base for start, base in starts if any(name.startswith(start) for name in names)), "")


def _lora_base(known: Header) -> str:
    names = known.shapes
    if any("single_transformer_blocks" in name or "double_blocks" in name for name in names):
        return "flux"
    if any("transformer_blocks" in name and "add_k_proj" in name for name in names):
        return "sd3"
    for name, shape in names.items():
        if DOWN.search(name) and TO_KEY.search(name) and len(shape) > 1 and "lokr" not in name:
            return TEXT_WIDTHS.get(shape[1], "")
    return "sdxl" if any(name.startswith(("lora_te2_", "text_encoder_2.")) for name in names) else ""


def _embedding_base(known: Header) -> str:
    if "clip_g" in known.shapes:
        return "sdxl"
    width = next(iter(known.shapes.values()))[-1]
    return {768: "sd1", 1024: "sd2"}.get(width, "")


KINDS: tuple[tuple[What, Callable[[Header], bool], Callable[[Header], str]], ...] = (
    ("checkpoint", _is_checkpoint, _checkpoint_base),
    ("lora", _is_lora, _lora_base),
    ("vae", _is_vae, lambda _: ""),  # those of SD 1.x and SDXL differ in no shape
    ("embedding", _is_embedding, _embedding_base),
    ("enlarger", lambda known: any(ENLARGER.search(name) for name in known.shapes), lambda _: ""),
)
