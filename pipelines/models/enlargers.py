"""Published checkpoints that enlarge pictures: Stable Diffusion's x4 and latent upscalers, and latent diffusion's own.

They run in diffusers' own pipelines, a tile at a time; `pipelines/upscalers/released.py` lays the tiles.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pipelines.errors import StudioError
from pipelines.models import ModelSpec, family
from pipelines.models.whole import pipeline_part
from pipelines.parts import Part, json_file

if TYPE_CHECKING:
    import torch
    from torch import nn

SIDES = {  # of the small pictures that they were trained on, in pixels
    "StableDiffusionUpscalePipeline": 128,
    "StableDiffusionLatentUpscalePipeline": 512,
    "LDMSuperResolutionPipeline": 128,
}
CODERS = {"StableDiffusionUpscalePipeline": "vae", "LDMSuperResolutionPipeline": "vqvae"}  # what decodes, of some


@family(*SIDES)
def read(folder: Path, name: str, **facts: Any) -> ModelSpec:
    """A folder in the diffusers layout."""
    index = json_file(folder / "model_index.json")
    kind = str(index["_class_name"])
    part = pipeline_part(folder, index, partial(_load, folder, kind))
    times = 2  # the latent upscaler's
    if kind in CODERS:  # latents of the small picture's size are decoded
        times = 2 ** (len(json_file(folder / CODERS[kind] / "config.json")["block_out_channels"]) - 1)
    return enlarging(name, kind.removesuffix("Pipeline"), part, times, SIDES[kind], facts)


def enlarging(name: str, family: str, part: Part, times: int, side: int, facts: dict[str, Any]) -> ModelSpec:
    """What enlarges pictures so many times, and reads tiles of a side in pixels."""
    known: dict[str, Any] = {
        "title": name,
        "summary": f"Enlarges pictures {times}-fold, in the tab Upscale; it paints none.",
        "licence": "not stated",
    }
    return ModelSpec(
        name=name,
        family=family,
        whole=True,
        enlarges=times,
        texts=(),
        net=part,
        vae=part,
        channels=3,
        factor=1,
        side=side,
        table=partial(_refuse, name),
        grid=partial(_refuse, name),
        predictor=partial(_refuse, name),
        decode=partial(_refuse, name),
        encode=partial(_refuse, name),
        **known | facts,
    )


def _load(folder: Path, kind: str, number_type: torch.dtype) -> nn.Module:
    from pipelines.models.enlarging_pipeline import EnlargingPipeline

    return EnlargingPipeline.load(folder, kind, number_type)


def _refuse(name: str, *_: Any) -> NoReturn:
    raise StudioError(f"{name} enlarges pictures, in the tab Upscale; choose another model for this.")
