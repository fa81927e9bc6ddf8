"""A compact network that enlarges pictures two- and fourfold; trained by `pipelines/training/upscale.py`.

Residual blocks at the size of the small picture, then the missing detail of every pixel by a pixel shuffle (Shi et al.
2016, arXiv:1609.05158), beside plain interpolation. No norms and no attention, so that it sees `halo` pixels and no
further. A plane beside the colours says how much blur, noise and compression it is to take away (after Zhang et al.
2018, "FFDNet", arXiv:1710.04026), from 0 for a clean picture to 1.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from pipelines.errors import BadCheckpoint
from pipelines.parts import Part, header

FILE = Path(__file__).parents[2] / "assets" / "upscale" / "compact.safetensors"
TIMES = (2, 4)


class Block(nn.Module):
    """Features, a little changed by two convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, width, H, W)."""
        changed: Tensor = self.second(functional.relu(self.first(x)))
        return x + changed


class Compact(nn.Module):
    """Pixels (B, 3, H, W) in [-1, 1] to pixels (B, 3, times H, times W)."""

    def __init__(self, width: int = 64, blocks: int = 10) -> None:
        super().__init__()
        self.width = width
        self.conv_in = nn.Conv2d(4, width, 3, padding=1)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.conv_out = nn.ModuleDict({str(n): nn.Conv2d(width, 3 * n * n, 3, padding=1) for n in TIMES})
        for layer in self.conv_out.values():  # an untrained network interpolates
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    @property
    def halo(self) -> int:
        """How many pixels of the small picture around its own have a say in a pixel: one a convolution."""
        return 2 + 2 * len(self.blocks)

    def forward(self, pixels: Tensor, times: int, restore: float | Tensor = 0.0) -> Tensor:
        """`times` is 2 or 4; `restore`, one figure or one a picture, how much damage to expect, 0..1."""
        plane = torch.as_tensor(restore).to(pixels).reshape(-1, 1, 1, 1)
        plane = plane.expand(len(pixels), 1, *pixels.shape[-2:])
        x = self.conv_in(torch.cat([pixels, plane], 1).to(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x)
        detail: Tensor = functional.pixel_shuffle(self.conv_out[str(times)](x), times)
        plain = functional.interpolate(pixels, scale_factor=float(times), mode="bicubic")
        return plain + detail


def compact_part(path: Path = FILE) -> Part:
    """The network kept in a file as a part. Raises BadCheckpoint where it is not there."""
    if not path.exists():
        raise BadCheckpoint(
            f"The compact upscaler has no weights yet: {path.parent.name}/{path.name} is missing. "
            "`python -m pipelines.training.upscale` trains them; choose another method meanwhile."
        )
    read = header(path)
    return Part(
        "The compact upscaler",
        f"compact {read.fingerprint}",
        read.elements,
        read.shapes["conv_in.weight"][0] if "conv_in.weight" in read.shapes else 1,
        partial(load_compact, path),
        stored=read.types,
        check=lambda: header(path),
    )


def load_compact(path: Path, number_type: torch.dtype = torch.float32) -> Compact:
    """The network kept in a file, its sizes in the file's notes. Raises BadCheckpoint."""
    try:
        with safe_open(path, "pt") as file:
            said = file.metadata() or {}
        net = Compact(int(said["width"]), int(said["blocks"]))
        net.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError):
        raise BadCheckpoint(f"{path.name} is damaged, or is no compact upscaler.") from None
    # channels last: a third less of the time of its convolutions on a CPU
    return net.eval().requires_grad_(False).to(number_type).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
