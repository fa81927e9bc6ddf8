"""Networks of diffusers as parts: one folder of a checkpoint each, its class known by name."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import BadCheckpoint
from pipelines.parts import Part, folder_part, json_file

if TYPE_CHECKING:
    import torch
    from torch import nn


def network(title: str, folder: Path, kind: str, width: int) -> Part:
    """The network in a folder, a class of diffusers. Raises BadCheckpoint where its settings name another class."""
    settings = json_file(folder / "config.json")
    said = settings.get("_class_name", kind)
    if said != kind:
        place = f"{folder.parent.name}/{folder.name}"
        raise BadCheckpoint(f"{title} in {place} is a {str(said)[:60]}; a {kind} was expected.")
    part = folder_part(title, folder, width, partial(_load, folder, kind))
    return replace(part, wide=bool(settings.get("force_upcast", False)))


def middle(widths: list[int]) -> int:
    """The channels of a network's middle level, of those of all its levels."""
    return int(sorted(widths)[len(widths) // 2])


def _load(folder: Path, kind: str, number_type: torch.dtype) -> nn.Module:
    import diffusers
    from diffusers.utils import logging

    logging.disable_progress_bar()
    return getattr(diffusers, kind).from_pretrained(  # type: ignore[no-any-return]
        folder, torch_dtype=number_type, local_files_only=True, use_safetensors=True
    )
