"""What the built-in model was taught for restoring in one step: low-rank changes of its painter and of its encoder.

Kept in one file, trained by `pipelines/training/one_step.py`, put on lent networks by hooks and taken off again.
After Wu et al. 2024, "OSEDiff" (arXiv:2406.08177), and Chen et al. 2024, "AdcSR" (arXiv:2411.13383): no noise is drawn,
the latents of the enlarged picture are what the painter reads, and no prompt is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from pipelines.errors import BadCheckpoint
from pipelines.models.lora import Lora, LowRank, Worn, patched
from pipelines.parts import Part, header

if TYPE_CHECKING:
    from pipelines.models import ModelSpec
    from pipelines.types import Cond, Predict

SIGMA = 0.5  # the noise level that the painter is told of: that much of what it reads is for it to settle
NAME = "one step"


def one_step_part(path: Path, spec: ModelSpec) -> Part:
    """The changes kept in a file, for the painter that they were taught to. Raises BadCheckpoint where they are not."""
    if not path.exists():
        raise BadCheckpoint(f"{path.name} is missing; `python -m pipelines.training.one_step` makes it.")
    read = header(path)
    return Part(
        "What restores in one step",
        f"one step {read.fingerprint}",
        read.elements,
        spec.net.width,
        partial(load_one_step, path, spec.net.key),
        stored=read.types,
        check=lambda: header(path),
    )


def load_one_step(path: Path, base: str, number_type: torch.dtype = torch.float32) -> Lora:
    """The changes kept in a file, for the painter whose part has the key `base`. Raises BadCheckpoint."""
    try:
        with safe_open(path, "pt") as file:
            said = file.metadata() or {}
        state = load_file(path)
        layers = {
            (place, layer): LowRank(state[f"{place}.{layer}.down"], state[f"{place}.{layer}.up"], 1.0, None)
            for place, layer, side in (name.split(".") for name in state)
            if side == "down"
        }
    except (OSError, KeyError, ValueError, SafetensorError):
        raise BadCheckpoint(f"{path.name} is damaged.") from None
    if said.get("base") != base:
        raise BadCheckpoint(
            f"{path.name} was taught to another state of the built-in model; "
            "`python -m pipelines.training.one_step` makes one for this."
        )
    return Lora(layers).to(number_type)


@contextmanager
def taught(net: Any, vae: Any, lora: Lora, weight: float = 1.0) -> Iterator[None]:
    """Painter and autoencoder with the changes on, until the block is left."""
    worn = [Worn(NAME, lora, weight)]
    with patched(net, "net", worn, "the painter"), patched(vae, "vae", worn, "the autoencoder"):
        yield


def restored(spec: ModelSpec, vae: Any, predict: Predict, pixels: Tensor, cond: Cond, creativity: float) -> Tensor:
    """Latents of pixels (B, 3, H, W) of an enlarged picture, restored by one evaluation of the network.

    `creativity` is the share that is taken of what the painter adds, 0..1, as the scales of Sun et al. 2024, "PiSA-SR"
    (arXiv:2412.03017).
    """
    latents = spec.encode(vae, pixels)
    (denoised,) = predict(latents, torch.tensor(SIGMA).to(latents), [cond])
    return latents.lerp(denoised, creativity)
