"""Checkpoints as data. Family differences are fields of a `ModelSpec`; nothing outside asks for a family's name."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import BadCheckpoint
from pipelines.parts import json_file
from pipelines.registry import Registry, discover
from pipelines.types import exploding

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.parts import Part
    from pipelines.types import Cond, Predict

__all__ = ["Levels", "ModelSpec", "Preset", "families", "family", "find", "load_folder", "models"]


@dataclass(frozen=True)
class Preset:
    """A quality by name: what it sets in the form, such as steps and sampler."""

    name: str
    values: dict[str, Any]


def _the_prompt(prompt: str, negative: bool) -> Sequence[tuple[Any, ...]]:  # noqa: ARG001
    return [(prompt,)]


def _the_only(conds: Sequence[Cond], prompt: str, negative: bool) -> Cond:  # noqa: ARG001
    (cond,) = conds
    return cond


@dataclass(frozen=True)
class Levels:
    """The noise levels of a checkpoint for pictures of one size, as schedules ask for them."""

    ends: Callable[[], tuple[float, float]]
    own: Callable[[int], Tensor]


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """A checkpoint: its parts, and all that the studio must know to walk with them.

    Each of `texts` is lent as a function -> Cond, called with what `asked(prompt, negative)` names for it; `joined`
    makes one Cond of theirs. `net` is lent as a network that `predictor` turns into `Predict`, `vae` as an
    autoencoder that `decode` and `encode` understand. Latents are (B, channels, height / factor, width / factor).
    """

    name: str
    title: str
    family: str
    summary: str
    licence: str
    texts: tuple[Part, ...]
    net: Part
    vae: Part
    channels: int
    factor: int
    side: int  # pixels of a side of the pictures it was trained on
    table: Callable[[], Tensor]  # sigmas (T,) of the training steps, rising
    grid: Callable[[int, int, int], Tensor]  # (steps, width, height) -> its own sigmas (steps + 1,), falling to 0
    predictor: Callable[..., Predict]  # (net, beside=None) -> Predict; `beside` as in `inpaints`
    decode: Callable[[Any, Tensor], Tensor]  # (vae, latents) -> pixels (B, 3, H, W)
    encode: Callable[[Any, Tensor], Tensor]  # (vae, pixels) -> latents
    asked: Callable[[str, bool], Sequence[tuple[Any, ...]]] = _the_prompt
    joined: Callable[[Sequence[Cond], str, bool], Cond] = _the_only  # (a Cond of each, prompt, negative) -> Cond
    whole: bool = False  # `net` is lent as the family's own pipeline; nothing else of this applies
    enlarges: int = 0  # times that its own pipeline, lent as `net`, enlarges a picture; 0 for one that paints
    inpaints: bool = False  # the network reads (1, 1 + C, h, w) beside x: a mask, 1 = repaint, and masked latents
    decode_keeping: Callable[[Any, Tensor, Tensor, Tensor], Tensor] | None = None  # (vae, latents, pixels, mask)
    preview: Part | None = None  # lent as a function x0 latents (1, C, h, w) -> pixels, for previews
    alpha: Callable[[Tensor], Tensor] = exploding
    defaults: dict[str, Any] = field(default_factory=dict)  # what the form shows when it is picked
    presets: tuple[Preset, ...] = ()
    taught_scale: float = math.inf  # the strongest guidance that pictures of a subject it was taught stand
    words: Callable[[], frozenset[str]] | None = None  # all it ever read, of a model that knows few
    plans: Path | None = None  # the folder beside it that keeps what was searched or measured for it

    def ends(self) -> tuple[float, float]:
        """The lowest and the highest sigma it was trained at."""
        table = self.table()
        return float(table[0]), float(table[-1])

    def own(self, steps: int) -> Tensor:
        """Its own noise levels for pictures as it was trained on, (steps + 1,), falling, ends in 0."""
        return self.grid(steps, self.side, self.side)

    def sized(self, width: int, height: int) -> Levels:
        """Its noise levels for pictures of so many pixels; some families start larger ones at more noise."""
        return Levels(self.ends, lambda steps: self.grid(steps, width, height))

    def parts(self) -> tuple[Part, ...]:
        """All that a picture needs, in order of use."""
        return tuple(dict.fromkeys((*self.texts, self.net, self.vae)))

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The shape of the latents of one picture of so many pixels, sides rounded up."""
        return 1, self.channels, -(-height // self.factor), -(-width // self.factor)

    def start(self, noise: Tensor, sigma: Tensor) -> Tensor:
        """Where a walk from nothing begins: unit-variance latents at `sigma`, like `noise`."""
        return noise * (self.alpha(sigma) ** 2 + sigma**2).sqrt()

    def noised(self, latents: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """Clean latents carried up to `sigma`."""
        return self.alpha(sigma) * latents + sigma * noise


Read = Callable[..., ModelSpec]  # (folder, name, **facts)

models: Registry[ModelSpec] = Registry("model")
families: Registry[Read] = Registry("family of checkpoints")  # by the _class_name in a folder's model_index.json
POCKET = Path(__file__).parents[2] / "assets" / "pocket"


def family(*kinds: str) -> Callable[[Read], Read]:
    """Registers a function (folder, name, **facts) -> ModelSpec as the reader of diffusers pipelines of these names."""

    def keep(read: Read) -> Read:
        for kind in kinds:
            families.add(kind, read)
        return read

    return keep


def find(name: str) -> ModelSpec:
    """The checkpoint of that name. Raises UnknownName."""
    return models[name]


def load_folder(folder: Path, name: str, **facts: Any) -> ModelSpec:
    """A checkpoint folder in the diffusers layout as a `ModelSpec`; reads headers and settings, no weights.

    `facts` are fields of the spec that the folder does not know, such as title and licence. Raises BadCheckpoint.
    """
    kind = str(json_file(folder / "model_index.json").get("_class_name"))
    if kind not in families:
        raise BadCheckpoint(f"{folder.name} is a {kind[:60]}, a family of checkpoints that the studio does not know.")
    try:
        return families[kind](folder, name, **{"plans": folder / "plans", **facts})
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
        raise BadCheckpoint(f"The settings in {folder.name} are not those of a {kind[:60]}.") from None


discover(__name__, list(__path__), mark="\n@family(")  # all else here may need torch, and is read when it is used
if POCKET.exists():
    importlib.import_module("pipelines.models.pocket").register()
