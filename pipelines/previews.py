"""How latents look, cheaply enough to show at every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from pipelines.device import on_host
from pipelines.pictures import to_pictures

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.memory import Memory
    from pipelines.models import ModelSpec

Look = Callable[[Tensor], "Image"]


@contextmanager
def looking(spec: ModelSpec, memory: Memory) -> Iterator[Look]:
    """A function from x0 latents (1, C, h, w) to a small picture: the model's preview decoder, or a linear map."""
    if spec.preview is None:
        weights = memory.recall(("look", spec.vae.key), lambda: linear_map(spec, memory))
        yield lambda latents: to_pictures(torch.einsum("bchw,cd->bdhw", with_one(latents), weights.to(latents)))[0]
        return
    with memory.use(spec.preview) as decode:
        kind = next(decode.parameters()).dtype
        yield lambda latents: to_pictures(decode(latents.to(kind)))[0]


def linear_map(spec: ModelSpec, memory: Memory) -> Tensor:
    """Weights (C + 1, 3) from one latent pixel and 1 to its colour, by least squares on smooth random pictures."""
    generator = torch.Generator().manual_seed(0)
    colours = torch.rand(16, 3, 4, 4, generator=generator) * 2 - 1
    pixels = functional.interpolate(colours, size=8 * spec.factor, mode="bicubic").clamp(-1, 1).to(memory.device.torch)
    with memory.use(spec.vae) as vae:
        latents = spec.encode(vae, pixels)  # (16, C, 8, 8)
    seen = functional.adaptive_avg_pool2d(pixels, (8, 8))
    rows, wanted = (on_host(each).movedim(1, -1).flatten(0, -2).double() for each in (with_one(latents), seen))
    weights: Tensor = torch.linalg.lstsq(rows, wanted).solution
    return weights.float()


def with_one(latents: Tensor) -> Tensor:
    """Latents with a channel of ones behind, (B, C + 1, h, w), for the map's constant."""
    return torch.cat([latents, torch.ones_like(latents[:, :1])], 1)
