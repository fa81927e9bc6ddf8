"""A tiny decoder that some checkpoints carry for live previews; trained by `pipelines/training/preview.py`."""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

FILE = "preview/preview.safetensors"  # below the checkpoint folder


def make_decoder(channels: int, enlarged: int, width: int = 48) -> nn.Sequential:
    """An untrained decoder: latents (B, channels, h, w) to pixels (B, 3, enlarged h, enlarged w); linear at width 0."""
    if width == 0:
        return nn.Sequential(nn.Conv2d(channels, 3 * enlarged**2, 1), nn.PixelShuffle(enlarged))
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
        nn.Conv2d(width, 3 * enlarged**2, 3, padding=1), nn.PixelShuffle(enlarged),
    )  # fmt: skip


def load_decoder(path: Path, number_type: torch.dtype) -> nn.Sequential:
    """The decoder kept in a file, its sizes in the file's notes."""
    with safe_open(path, "pt") as file:
        said = file.metadata()
    decoder = make_decoder(int(said["channels"]), int(said["enlarged"]), int(said["width"]))
    decoder.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return decoder.to(number_type)
