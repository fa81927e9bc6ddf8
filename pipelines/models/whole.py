"""Families that have no predictor here yet: their checkpoints run in diffusers' own pipeline, from words only.

Such a pipeline brings its own sampler, levels and guidance; none of ours apply to it. It is held as one part.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pipelines.errors import BadCheckpoint, StudioError
from pipelines.models import ModelSpec, Preset, family
from pipelines.parts import Part, folder_part, json_file

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

KINDS = (
    "AuraFlowPipeline", "ChromaPipeline", "CogView4Pipeline", "Flux2KleinPipeline",
    "Flux2Pipeline", "HunyuanDiTPipeline", "Kandinsky3Pipeline", "Krea2Pipeline",
    "Lumina2Pipeline", "OvisImagePipeline", "PixArtAlphaPipeline", "PixArtSigmaPipeline",
    "PRXPipeline", "QwenImagePipeline", "SanaSprintPipeline", "ZImagePipeline",
)  # fmt: skip
LIBRARIES = ("diffusers", "transformers")
FACTOR = 16  # pixels that most of these want sides to be multiples of
SIDE = 1024  # pixels; their settings do not agree on where they say it
WIDTH = 1024  # channels; all of these are wide enough for the type that is fastest


@family(*KINDS)
def read(folder: Path, name: str, **facts: Any) -> ModelSpec:
    """A folder in the diffusers layout."""
    index = json_file(folder / "model_index.json")
    kind = str(index["_class_name"])
    part = pipeline_part(folder, index, partial(_load, folder, kind))
    known: dict[str, Any] = {
        "title": name,
        "summary": "Runs in its own pipeline, from words only: sampler, schedule and guidance are its own.",
        "licence": "not stated",
        "presets": tuple(Preset(each, {"steps": n}) for each, n in (("Draft", 8), ("Balanced", 25), ("Best", 50))),
    }
    return ModelSpec(
        name=name,
        family=kind.removesuffix("Pipeline"),
        whole=True,
        texts=(),
        net=part,
        vae=part,
        channels=3,
        factor=FACTOR,
        side=SIDE,
        table=partial(_refuse, name),
        grid=partial(_refuse, name),
        predictor=partial(_refuse, name),
        decode=partial(_refuse, name),
        encode=partial(_refuse, name),
        **known | facts,
    )


def pipeline_part(folder: Path, index: dict[str, Any], load: Callable[[torch.dtype], nn.Module]) -> Part:
    """All networks of a checkpoint as one part. Raises BadCheckpoint where one is of no library that is known."""
    members = []
    for place, made in index.items():
        if not isinstance(made, list) or made[0] is None:
            continue
        if made[0] not in LIBRARIES:
            raise BadCheckpoint(f"{folder.name} wants code of its own for {place[:60]}, which the studio does not run.")
        if (folder / place / "config.json").exists():
            members.append(folder_part("The pipeline", folder / place, WIDTH, load))
    if not members:
        raise BadCheckpoint(f"There are no networks in {folder.name}.")
    return Part(
        "The pipeline",
        hashlib.sha256("".join(each.key for each in members).encode()).hexdigest()[:32],
        sum(each.elements for each in members),
        WIDTH,
        load,
        stored=frozenset().union(*(each.stored for each in members)),
        check=lambda: [each.check() for each in members],
    )


def _load(folder: Path, kind: str, number_type: torch.dtype) -> nn.Module:
    from pipelines.models.whole_pipeline import WholePipeline

    return WholePipeline.load(folder, kind, number_type)


def _refuse(name: str, *_: Any) -> NoReturn:
    raise StudioError(f"{name} runs in its own pipeline, which paints from words only; choose another model for this.")
