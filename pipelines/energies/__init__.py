"""Energies say how far a picture is from what is wanted, so that guidance may lean it there while it is painted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.errors import BadRequest, StudioError
from pipelines.knobs import knob
from pipelines.method import Method
from pipelines.registry import Registry, discover

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.models import ModelSpec
    from pipelines.types import Run

__all__ = ["Energy", "Measure", "Named", "Part", "energies"]

Measure = Callable[["Tensor"], "Tensor"]  # x0 latents (B, C, h, w) -> energy (B,), 0 where all is as wanted
Part = Annotated[
    Literal["everywhere", "top", "bottom", "left", "right", "middle"],
    *knob("Where", "The part of the picture that is meant."),
]
Named = Annotated[str, *knob("Picture", "The picture to lean towards.", "reference", pattern="^([0-9a-f]{32})?$")]


class Energy(Method):
    """`with energy.of(run) as measure` is a differentiable function of x0 latents; the lower, the nearer."""

    @contextmanager
    def of(self, run: Run) -> Iterator[Measure]:
        """For one walk."""
        raise TypeError(f"{type(self).__name__} does not say what it measures")
        yield


def model_of(run: Run) -> ModelSpec:
    """The checkpoint of a run. Raises StudioError where it is not known."""
    if run.spec is None:
        raise StudioError("Leaning towards something has to know the checkpoint.")
    return run.spec


def small(run: Run) -> Callable[[Tensor], Tensor]:
    """A function from x0 latents to the colours of their places, (B, 3, h, w), about in [-1, 1]: a linear map, which
    needs no decoder on the way."""
    import torch

    from pipelines.previews import linear_map, with_one

    spec = model_of(run)
    weights = run.memory.recall(("look", spec.vae.key), lambda: linear_map(spec, run.memory))
    return lambda latents: torch.einsum("bchw,cd->bdhw", with_one(latents), weights.to(latents).clone())


def pixels_of(run: Run, name: str) -> Tensor:
    """The pixels (1, 3, H, W) of the picture that a knob names. Raises BadRequest."""
    from pipelines.pictures import to_pixels

    if not name:
        raise BadRequest("Guidance: choose the picture to lean towards.")
    if run.shelf is None:
        raise BadRequest("Guidance: a picture to lean towards can be named where pictures are made from words only.")
    return to_pixels(run.shelf.open(name).convert("RGB")).to(run.sigmas.device)


def region(where: str, like: Tensor) -> Tensor:
    """The part of latents that is meant, (1, 1, h, w), 1 inside."""
    part = like.new_zeros(1, 1, *like.shape[-2:])
    height, width = like.shape[-2:]
    rows = {
        "top": slice(0, height // 2),
        "bottom": slice(height // 2, height),
        "middle": slice(height // 4, -(height // 4)),
    }
    columns = {
        "left": slice(0, width // 2),
        "right": slice(width // 2, width),
        "middle": slice(width // 4, -(width // 4)),
    }
    part[..., rows.get(where, slice(None)), columns.get(where, slice(None))] = 1
    return part


energies: Registry[type[Energy]] = Registry("energy")
discover(__name__, list(__path__))
