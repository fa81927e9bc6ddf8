"""Stable Diffusion 1.x and 2.x, and Pocket: a UNet on latents, one CLIP text encoder, a KL autoencoder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import BadCheckpoint
from pipelines.models import ModelSpec, family
from pipelines.models.autoencoders import autoencoder
from pipelines.models.texts import clip
from pipelines.models.unet import levels, predictor, takes_a_mask, unet
from pipelines.parts import Part, header, json_file

if TYPE_CHECKING:
    import torch
    from torch import nn


@family(
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionInpaintPipeline",
    "LatentConsistencyModelPipeline",
)
def read(folder: Path, name: str, **facts: Any) -> ModelSpec:
    """A folder in the diffusers layout."""
    return checkpoint(
        name,
        (clip(folder),),
        unet(folder),
        json_file(folder / "unet" / "config.json"),
        autoencoder(folder),
        json_file(folder / "scheduler" / "scheduler_config.json"),
        **{"preview": _preview_part(folder)} | facts,
    )


def checkpoint(
    name: str,
    texts: tuple[Part, ...],
    net: Part,
    settings: dict[str, Any],
    coder: dict[str, Any],
    scheduler: dict[str, Any],
    **facts: Any,
) -> ModelSpec:
    """The spec of parts from anywhere: `settings` are the UNet's, `coder` what the autoencoder decides of a spec."""
    if settings.get("addition_embed_type") not in (None, "text"):  # "text" is the sentence itself, read as a whole
        raise BadCheckpoint(f"The painter in {name} reads more than words, as those of SDXL do.")
    known: dict[str, Any] = {"title": name, "summary": "A Stable Diffusion checkpoint.", "licence": "not stated"}
    from_noise = levels(scheduler)
    prediction = scheduler.get("prediction_type", "epsilon")
    return ModelSpec(
        name=name,
        family="Stable Diffusion",
        texts=texts,
        net=net,
        side=int(settings["sample_size"]) * int(coder["factor"]),
        inpaints=takes_a_mask(name, settings, coder["channels"]),
        predictor=partial(predictor, prediction=prediction, table=from_noise["table"]),
        **known | coder | from_noise | facts,
    )


def _preview_part(folder: Path) -> Part | None:
    file = folder / "preview" / "preview.safetensors"
    if not file.exists():
        return None
    known = header(file)
    return Part("The preview decoder", known.fingerprint, known.elements, 1, partial(_preview, file))


def _preview(file: Path, number_type: torch.dtype) -> nn.Module:
    from pipelines.models.preview_decoder import load_decoder

    return load_decoder(file, number_type)
