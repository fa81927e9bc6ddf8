"""What the built-in model was taught for restoring in one step: low-rank changes of its painter, patches read and
written in place of the autoencoder, and a few convolutions that put what it paints into the enlarged picture.

Kept in one file, trained by `pipelines/training/one_step.py`; in use the changes are part of the weights of a painter
of its own. After Wu et al. 2024, "OSEDiff" (arXiv:2406.08177): no noise is drawn, the latents of the enlarged picture
are what the painter reads, and no prompt is. After Chen et al. 2024, "AdcSR" (arXiv:2411.13383): the encoder makes way
for the pixels themselves, and of the decoder a thin rest is left.
"""

from __future__ import annotations

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
from pipelines.models.lora import LowRank, layers_by_name
from pipelines.parts import Part, header

if TYPE_CHECKING:
    from pipelines.models import ModelSpec
    from pipelines.types import Cond, Predict

SIGMA = 0.5  # the noise level that the painter is told of: that much of what it reads is for it to settle


class Finish(nn.Module):
    """The enlarged picture (B, 3, H, W), even sides, and what the painter sees in it (B, 12, H/2, W/2), to one picture.

    At half the size, by pixel shuffles (Shi et al. 2016, arXiv:1609.05158); a plane says how much damage to expect.
    """

    def __init__(self, width: int = 32, blocks: int = 4) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(25, width, 3, padding=1)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.conv_out = nn.Conv2d(width, 12, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)  # an untrained one gives the enlarged picture back
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def forward(self, plain: Tensor, seen: Tensor, restore: float | Tensor = 0.0) -> Tensor:
        """Pixels (B, 3, H, W); `restore` is one figure or one a picture, 0..1."""
        halves = torch.cat([functional.pixel_unshuffle(plain, 2).to(seen), seen], 1)
        plane = torch.as_tensor(restore).to(seen).reshape(-1, 1, 1, 1).expand(len(plain), 1, *halves.shape[-2:])
        x = self.conv_in(torch.cat([halves, plane], 1).to(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x)
        return plain + functional.pixel_shuffle(self.conv_out(x), 2).to(plain)


class Ends(nn.Module):
    """What stands before and behind the painter: patches of pixels to latents, latents to planes, planes to pixels."""

    def __init__(self, channels: int, factor: int, width: int = 32, blocks: int = 4) -> None:
        super().__init__()
        self.read = nn.Conv2d(3, channels, factor, factor)
        self.write = nn.ConvTranspose2d(channels, 12, factor // 2, factor // 2)  # of twice the size, folded
        self.finish = Finish(width, blocks)

    def notes(self) -> dict[str, str]:
        """What `__init__` was told, for a file's header."""
        channels, _, factor, _ = self.read.weight.shape
        width = self.finish.conv_in.out_channels
        said = {"channels": channels, "factor": factor, "width": width, "blocks": len(self.finish.blocks)}
        return {name: str(value) for name, value in said.items()}


class Restorer(nn.Module):
    """A painter with the changes in its weights, and its ends."""

    def __init__(self, net: nn.Module, ends: Ends) -> None:
        super().__init__()
        self.net, self.ends = net, ends


def one_step_part(path: Path, spec: ModelSpec) -> Part:
    """What is kept in a file, with the painter that it was taught to. Raises BadCheckpoint where it is not there."""
    if not path.exists():
        raise BadCheckpoint(f"{path.name} is missing; `python -m pipelines.training.one_step` makes it.")
    read = header(path)
    return Part(
        "What restores in one step",
        f"one step {read.fingerprint} {spec.net.key}",
        read.elements + spec.net.elements,
        spec.net.width,
        partial(load_one_step, path, spec.net),
        number_type=spec.net.number_type,
        check=lambda: header(path),
    )


def load_one_step(path: Path, base: Part, number_type: torch.dtype = torch.float32) -> Restorer:
    """What is kept in a file, on a copy of the painter `base`. Raises BadCheckpoint."""
    try:
        with safe_open(path, "pt") as file:
            said = file.metadata() or {}
        state = load_file(path)
        ends = Ends(*(int(said[name]) for name in ("channels", "factor", "width", "blocks")))
        ends.load_state_dict({k.removeprefix("ends."): v.float() for k, v in state.items() if k[:5] == "ends."})
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError):
        raise BadCheckpoint(f"{path.name} is damaged.") from None
    if said.get("base") != base.key:
        raise BadCheckpoint(
            f"{path.name} was taught to another state of the built-in model; "
            "`python -m pipelines.training.one_step` makes one for this."
        )
    net = base.load(torch.float32)
    layers = layers_by_name(net)
    for name in {key.split(".")[1] for key in state if key.startswith("net.")}:
        layer: Any = layers[name]
        change = LowRank(state[f"net.{name}.down"].float(), state[f"net.{name}.up"].float(), 1.0, None).matrix()
        layer.weight = nn.Parameter(layer.weight.detach().float() + change.view(layer.weight.shape))
    return Restorer(net, ends).eval().requires_grad_(False).to(number_type).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def imagined(ends: Ends, predict: Predict, pixels: Tensor, cond: Cond) -> Tensor:
    """Latents of what one evaluation of the network makes of an enlarged picture, pixels (B, 3, H, W)."""
    latents = ends.read(pixels.to(ends.read.weight.dtype)).float()
    return predict(latents, torch.tensor(SIGMA).to(latents), [cond])[0]


def restored(
    ends: Ends, predict: Predict, pixels: Tensor, cond: Cond, restore: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Pixels (B, 3, H, W) of an enlarged picture, restored by one evaluation of the network, and its latents."""
    latents = imagined(ends, predict, pixels, cond)
    seen = ends.write(latents.to(ends.write.weight.dtype))
    return ends.finish(pixels, seen, restore), latents
