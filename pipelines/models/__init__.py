"""Checkpoints as data. Family differences are fields of a `ModelSpec`; nothing outside asks for a family's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import StudioError
from pipelines.registry import Registry
from pipelines.types import exploding

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.parts import Part
    from pipelines.types import Predict

__all__ = ["ModelSpec", "Preset", "find", "models"]


@dataclass(frozen=True)
class Preset:
    """A quality by name: what it sets in the form, such as steps and sampler."""

    name: str
    values: dict[str, Any]


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """A checkpoint: its parts, and all that the studio must know to walk with them.

    `text` is lent as a function prompt -> Cond, `net` as a network that `predictor` turns into `Predict`, `vae` as
    an autoencoder that `decode` and `encode` understand. Latents are (B, channels, height / factor, width / factor).
    """

    name: str
    title: str
    family: str
    summary: str
    licence: str
    text: Part
    net: Part
    vae: Part
    channels: int
    factor: int
    side: int  # pixels of a side of the pictures it was trained on
    table: Callable[[], Tensor]  # sigmas (T,) of the training steps, rising
    grid: Callable[[int], Tensor]  # steps -> its own sigmas (steps + 1,), falling, ends in 0
    predictor: Callable[[Any], Predict]
    decode: Callable[[Any, Tensor], Tensor]  # (vae, latents) -> pixels (B, 3, H, W)
    encode: Callable[[Any, Tensor], Tensor]  # (vae, pixels) -> latents
    preview: Part | None = None  # lent as a function x0 latents (1, C, h, w) -> pixels, for previews
    alpha: Callable[[Tensor], Tensor] = exploding
    defaults: dict[str, Any] = field(default_factory=dict)  # what the form shows when it is picked
    presets: tuple[Preset, ...] = ()

    def ends(self) -> tuple[float, float]:
        """The lowest and the highest sigma it was trained at."""
        table = self.table()
        return float(table[0]), float(table[-1])

    def own(self, steps: int) -> Tensor:
        """Its own noise levels, (steps + 1,), falling, ends in 0."""
        return self.grid(steps)

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The shape of the latents of one picture of so many pixels."""
        return 1, self.channels, height // self.factor, width // self.factor

    def start(self, noise: Tensor, sigma: Tensor) -> Tensor:
        """Where a walk from nothing begins: unit-variance latents at `sigma`, like `noise`."""
        return noise * (self.alpha(sigma) ** 2 + sigma**2).sqrt()

    def noised(self, latents: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """Clean latents carried up to `sigma`."""
        return self.alpha(sigma) * latents + sigma * noise


models: Registry[ModelSpec] = Registry("model")
POCKET = Path(__file__).parents[2] / "assets" / "pocket"


def find(name: str) -> ModelSpec:
    """The checkpoint of that name. Raises UnknownName."""
    return models[name]


def scan(folder: Path) -> dict[str, str]:
    """Register every checkpoint folder in `folder` that is not known yet; returns name -> why not for the others."""
    from pipelines.models.stable_diffusion import load_folder

    refused: dict[str, str] = {}
    for index in sorted(folder.glob("*/model_index.json")):
        name = index.parent.name
        if name in models:
            continue
        try:
            models.add(name, load_folder(index.parent, name))
        except StudioError as error:
            refused[name] = str(error)
    return refused


def _built_in() -> None:
    from pipelines.models.stable_diffusion import load_folder

    models.add(
        "pocket",
        load_folder(
            POCKET,
            "pocket",
            title="Pocket",
            licence="Apache-2.0",
            summary="The small model that ships with the studio; it paints the drawn world it was raised on.",
        ),
    )


if POCKET.exists():
    _built_in()
