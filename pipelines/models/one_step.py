"""What the built-in model was taught for restoring in one step: low-rank changes of its painter, and a few convolutions
that put what it paints into the pixels of the enlarged picture.

Kept in one file, trained by `pipelines/training/one_step.py`; the changes are put on the lent network by hooks and
taken off again. After Wu et al. 2024, "OSEDiff" (arXiv:2406.08177), and Chen et al. 2024, "AdcSR" (arXiv:2411.13383):
no noise is drawn, the latents of the enlarged picture are what the painter reads, and no prompt is. Pixels go past the
autoencoder, whose patches are larger than what is to be restored.
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
from torch import Tensor, nn
from torch.nn import functional

from pipelines.errors import BadCheckpoint
from pipelines.models.compact import Block
from pipelines.models.lora import Lora, LowRank, Worn, patched
from pipelines.parts import Part, header

if TYPE_CHECKING:
    from pipelines.models import ModelSpec
    from pipelines.types import Cond, Predict

SIGMA = 0.5  # the noise level that the painter is told of: that much of what it reads is for it to settle
NAME = "one step"


class Finish(nn.Module):
    """The enlarged picture and what the painter makes of it, (B, 3, H, W) both with even sides, to one picture.

    At half the size, by pixel shuffles (Shi et al. 2016, arXiv:1609.05158); a plane says how much damage to expect.
    """

    def __init__(self, width: int = 48, blocks: int = 4) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(25, width, 3, padding=1)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.conv_out = nn.Conv2d(width, 12, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)  # an untrained one gives the enlarged picture back
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def forward(self, plain: Tensor, painted: Tensor, restore: float | Tensor = 0.0) -> Tensor:
        """Pixels (B, 3, H, W); `restore` is one figure or one a picture, 0..1."""
        halves = functional.pixel_unshuffle(torch.cat([plain, painted], 1), 2)
        plane = torch.as_tensor(restore).to(plain).reshape(-1, 1, 1, 1).expand(len(plain), 1, *halves.shape[-2:])
        x = self.conv_in(torch.cat([halves, plane], 1))
        for block in self.blocks:
            x = block(x)
        return plain + functional.pixel_shuffle(self.conv_out(x), 2)


class Taught(nn.Module):
    """All that is learned."""

    def __init__(self, lora: Lora, finish: Finish) -> None:
        super().__init__()
        self.lora, self.finish = lora, finish


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


def load_one_step(path: Path, base: str, number_type: torch.dtype = torch.float32) -> Taught:
    """What is kept in a file, for the painter whose part has the key `base`. Raises BadCheckpoint."""
    try:
        with safe_open(path, "pt") as file:
            said = file.metadata() or {}
        state = load_file(path)
        layers = {
            ("net", layer): LowRank(state[f"net.{layer}.down"], state[f"net.{layer}.up"], 1.0, None)
            for place, layer, side in (name.split(".") for name in state if name.startswith("net."))
            if side == "down"
        }
        finish = Finish(int(said["width"]), int(said["blocks"]))
        finish.load_state_dict({k.removeprefix("finish."): v.float() for k, v in state.items() if k[:7] == "finish."})
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError):
        raise BadCheckpoint(f"{path.name} is damaged.") from None
    if said.get("base") != base:
        raise BadCheckpoint(
            f"{path.name} was taught to another state of the built-in model; "
            "`python -m pipelines.training.one_step` makes one for this."
        )
    return Taught(Lora(layers), finish).eval().requires_grad_(False).to(number_type)


@contextmanager
def taught(net: Any, lora: Lora) -> Iterator[None]:
    """The painter with the changes on, until the block is left."""
    with patched(net, "net", [Worn(NAME, lora, 1.0)], "the painter"):
        yield


def imagined(spec: ModelSpec, vae: Any, predict: Predict, pixels: Tensor, cond: Cond) -> Tensor:
    """Latents of what one evaluation of the network makes of an enlarged picture, pixels (B, 3, H, W)."""
    latents = spec.encode(vae, pixels)
    return predict(latents, torch.tensor(SIGMA).to(latents), [cond])[0]


def restored(
    spec: ModelSpec, vae: Any, predict: Predict, finish: Finish, pixels: Tensor, cond: Cond, restore: float
) -> Tensor:
    """Pixels (B, 3, H, W) of an enlarged picture, restored by one evaluation of the network."""
    painted = spec.decode(vae, imagined(spec, vae, predict, pixels, cond))
    kind = next(finish.parameters()).dtype
    answer: Tensor = finish(pixels.to(kind), painted.to(kind), restore)
    return answer.float()
