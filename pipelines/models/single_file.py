"""Checkpoints in one file, as communities share them: Stable Diffusion 1.x and 2.x, SDXL and its refiner.

What is not in the file (settings, tokenizer, noise levels) is read off its shapes or ships with the studio.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pipelines.errors import BadCheckpoint
from pipelines.models import ModelSpec
from pipelines.models.autoencoders import coder
from pipelines.models.headers import BASES, Known
from pipelines.models.networks import middle
from pipelines.models.sections import Section, filled, section, section_part, values
from pipelines.models.shapes import clip_settings, unet_settings, vae_settings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pipelines.parts import Part

PAINTER, AUTOENCODER = "model.diffusion_model.", "first_stage_model."
READERS = {  # of each base: the prefixes of its text encoders, in order, and what each fills up with
    "sd1": (("cond_stage_model.transformer.", "<|endoftext|>"),),
    "sd2": (("cond_stage_model.model.", "!"),),
    "sdxl": (("conditioner.embedders.0.transformer.", "<|endoftext|>"), ("conditioner.embedders.1.model.", "!")),
    "refiner": (("conditioner.embedders.0.model.", "!"),),
}
SCALES = {"sd1": 0.18215, "sd2": 0.18215, "sdxl": 0.13025, "refiner": 0.13025}  # of latents
WIDE_CODERS = ("sdxl", "refiner")  # whose activations leave the range of float16, as their settings say
SIDES = {"sd1": 64, "sd2": 64, "sdxl": 128, "refiner": 128}  # of latents
LEVELS = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    "steps_offset": 1, "timestep_spacing": "leading",
}  # fmt: skip
SPREAD = "output_blocks.11.1.transformer_blocks.0.norm1.bias"
WIDE = 0.09  # spread of that bias above which an SD 2.x predicts v: ComfyUI found the two kinds apart there


def read_file(path: Path, name: str, known: Known, **facts: Any) -> ModelSpec:
    """The checkpoint in a file that `recognised` took for one; reads headers, no weights. Raises BadCheckpoint."""
    if known.base not in READERS:
        raise BadCheckpoint(
            f"{path.name} is a checkpoint of {BASES[known.base]} in one file; "
            "the studio opens those of Stable Diffusion 1.x and 2.x and of SDXL. Use its diffusers folder."
        )
    try:
        return _spec(path, name, known, facts)
    except (KeyError, ValueError, IndexError, TypeError):
        raise BadCheckpoint(
            f"{path.name} looks like {BASES[known.base]}, but its painter, autoencoder or text encoder is incomplete "
            "or of a shape the studio does not know."
        ) from None


def _spec(path: Path, name: str, known: Known, facts: dict[str, Any]) -> ModelSpec:
    from pipelines.models import sdxl, stable_diffusion

    base = known.base
    texts = [_reader(section(path, prefix), pad, base) for prefix, pad in READERS[base]]
    painter = section(path, PAINTER)
    settings = unet_settings(painter.shapes, texts[-1][1]["projection_dim"], base == "refiner")
    scheduler = _scheduler(path, known, painter)
    large = base == "sd2" and scheduler["prediction_type"] == "v_prediction"  # of 768 pixels
    settings["sample_size"] = 96 if large else SIDES[base]
    load = partial(_painter, painter, settings)
    net = section_part("The painter", painter, settings, middle(settings["block_out_channels"]), load)
    vae = vae_settings(section(path, AUTOENCODER).shapes, SCALES[base])
    said = {"licence": known.notes.get("modelspec.license", "not stated")[:80]} | facts
    family: Any = stable_diffusion if base in ("sd1", "sd2") else sdxl
    more = {} if family is stable_diffusion else {"refines": base == "refiner", "zeros": base != "refiner"}
    readers = tuple(part for part, _ in texts)
    coded = replace(vae_part(path, AUTOENCODER, vae), wide=base in WIDE_CODERS)
    spec: ModelSpec = family.checkpoint(name, readers, net, settings, coder(coded, vae), scheduler, **more, **said)
    return spec


def vae_part(path: Path, prefix: str, settings: dict[str, Any]) -> Part:
    """An autoencoder in a section of a file, in ldm's layout or in diffusers'."""
    known = section(path, prefix)
    load = partial(_autoencoder, known, settings)
    return section_part("The autoencoder", known, settings, middle(settings["block_out_channels"]), load)


def _reader(known: Section, pad: str, base: str) -> tuple[Part, dict[str, Any]]:
    settings = clip_settings(known.shapes)
    if base == "sd2":
        settings["num_hidden_layers"] -= 1  # it reads the state before the last
    load = partial(_clip, known, settings, pad, base)
    return section_part("The text encoder", known, {**settings, "pad": pad}, settings["hidden_size"], load), settings


def _scheduler(path: Path, known: Known, painter: Section) -> dict[str, Any]:
    """The settings of its noise levels: what it predicts, from metadata, marker tensors, or a yaml file beside it."""
    names = known.header.shapes
    if any(name.startswith("edm_") for name in names):
        raise BadCheckpoint(f"{path.name} was trained on EDM's noise levels, which the studio does not walk.")
    said = known.notes.get("modelspec.prediction_type", "").lower()
    predicts_v = "v_pred" in names or said in ("v", "v_prediction", "v-prediction") or _beside(path)
    if known.base == "sd2" and not predicts_v and not said and painter.shapes["input_blocks.0.0.weight"][1] == 4:
        predicts_v = SPREAD in painter.shapes and float(values(path, f"{PAINTER}{SPREAD}").std()) > WIDE
    levels = LEVELS | {"prediction_type": "v_prediction" if predicts_v else "epsilon"}
    if "ztsnr" in names:
        levels |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return levels


def _beside(path: Path) -> bool:
    """Whether a yaml file of the same name says that the checkpoint predicts v, as for A1111's web UI."""
    beside = path.with_suffix(".yaml")
    try:
        return bool(re.search(r"parameterization:\s*[\"']?v\b", beside.read_text(encoding="utf-8")[:100_000]))
    except (OSError, ValueError):
        return False


def _painter(known: Section, settings: dict[str, Any], number_type: torch.dtype) -> nn.Module:
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    held = convert_ldm_unet_checkpoint(known.tensors(whole_names=True), settings)
    return filled(partial(UNet2DConditionModel, **settings), held, number_type)


def _autoencoder(known: Section, settings: dict[str, Any], number_type: torch.dtype) -> nn.Module:
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    held = known.tensors()
    if "encoder.down_blocks.0.resnets.0.conv1.weight" in held:
        held = {re.sub(r"\.(query|key|value|proj_attn)\.", _today, name): value for name, value in held.items()}
    else:
        held = convert_ldm_vae_checkpoint({f"{AUTOENCODER}{name}": value for name, value in held.items()}, settings)
    return filled(partial(AutoencoderKL, **settings), held, number_type)


def _today(found: re.Match[str]) -> str:
    """diffusers' names of an attention's layers as they are now, for those of its first releases."""
    return {"query": ".to_q.", "key": ".to_k.", "value": ".to_v.", "proj_attn": ".to_out.0."}[found[1]]


def _clip(known: Section, settings: dict[str, Any], pad: str, base: str, number_type: torch.dtype) -> nn.Module:
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    from pipelines.models.clip_text import ClipText
    from pipelines.models.clip_words import WORDS, tokenizer

    if settings["vocab_size"] != WORDS:
        raise KeyError("another vocabulary than CLIP's")
    projects = "text_projection" in known.shapes and base != "sd2"
    make = partial(CLIPTextModelWithProjection if projects else CLIPTextModel, CLIPTextConfig(**settings))
    held = known.tensors()
    if "positional_embedding" in held:
        shaped = SimpleNamespace(config=SimpleNamespace(hidden_size=settings["hidden_size"]))
        held = convert_open_clip_checkpoint(shaped, known.tensors(whole_names=True), known.prefix)
    if not projects:  # transformers 5 keeps the plain model's weights without this prefix
        held = {name.removeprefix("text_model."): value for name, value in held.items()}
    return ClipText(tokenizer(pad), filled(make, held, number_type))  # type: ignore[arg-type]
