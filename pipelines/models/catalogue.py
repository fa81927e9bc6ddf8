"""Known checkpoints and few-step adapters: where they are, under what licence, what they like. It fetches nothing.

The table is assets/catalogue.json. Its sizes are rounded and of the files the studio would fetch; the Hub is asked for
the true ones before a download.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.models import Preset
from pipelines.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Container

    from pipelines.models import ModelSpec

TABLE = Path(__file__).parents[2] / "assets" / "catalogue.json"
ONE_LOOK = {"name": "cfg", "knobs": {"scale": 1.0}}  # few-step networks have their guidance within
BASES_OF = {"SDXL": "sdxl", "SDXL refiner": "refiner", "Stable Diffusion 3": "sd3", "FLUX.1": "flux", "Sana": "sana"}


class Few(BaseModel):
    """How a few-step adapter is walked with: its presets are called by title and number of steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    sampler: str
    schedule: str = "own"
    steps: tuple[int, ...]
    weight: float = 1.0


class Listed(BaseModel):
    """A model that people know by name. `file` picks one of a repository's files; `unavailable` says why it cannot be
    had, empty where it can; `few` is what a few-step adapter adds to every checkpoint of its `base`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[\w.-]+$")
    title: str = Field(min_length=3)
    hub: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    base: Literal["sd1", "sd2", "sdxl", "refiner", "sd3", "flux", "sana", "other"]
    licence: str = Field(min_length=3)
    gigabytes: float = Field(gt=0, lt=200)
    summary: str = Field(pattern=r"\.$")
    kind: Literal["checkpoint", "adapter"] = "checkpoint"
    file: str = Field(default="", pattern=r"^([\w./-]+\.safetensors)?$")
    gated: bool = False
    defaults: dict[str, Any] = {}
    few: Few | None = None
    unavailable: str = Field(default="", pattern=r"^(.+\.)?$")

    def presets(self) -> tuple[Preset, ...]:
        """The adapter put on, a short walk, and one look a step."""
        if self.few is None:
            return ()
        walk = {"sampler": self.few.sampler, "schedule": self.few.schedule, "guidance": ONE_LOOK}
        worn = [{"name": self.name, "weight": self.few.weight}]
        return tuple(
            Preset(f"{self.few.title} {count}", {"steps": count, **walk, "adapters": worn}) for count in self.few.steps
        )


catalogue: Registry[Listed] = Registry("known model")


def base_of(spec: ModelSpec) -> str:
    """The base of a checkpoint, "" where its family does not say. SD 1.x and 2.x differ in their text encoder."""
    if spec.family == "Stable Diffusion":
        return {768: "sd1", 1024: "sd2"}.get(spec.texts[0].width, "")
    return BASES_OF.get(spec.family, "")


def added_presets(spec: ModelSpec, adapters: Container[str]) -> tuple[Preset, ...]:
    """What the few-step adapters that are here add to a checkpoint's presets."""
    own = base_of(spec)
    fitting = (each for each in catalogue.values() if own and each.base == own and each.name in adapters)
    return tuple(preset for each in fitting for preset in each.presets())


def listed_at(hub: str, file: str = "") -> Listed | None:
    """The entry of a repository on the Hub, or of one of its files where it has several."""
    return next((each for each in catalogue.values() if each.hub == hub and each.file in ("", file)), None)


for _each in json.loads(TABLE.read_text(encoding="utf-8")):
    catalogue.add(str(_each["name"]), Listed(**_each))
