"""A branch beside a decoder that shows it the picture it keeps: what is not repainted survives the autoencoder.

Zhu et al. 2023, "Designing a Better Asymmetric VQGAN" (arXiv:2306.04632), with one change: what is seen of the kept
picture is added to the decoder's own maps wherever nothing may change, where there it takes their place. diffusers has
that for latents of 8 pixels alone, as `AsymmetricAutoencoderKL`; here it is a file `keeping.safetensors` beside any
`AutoencoderKL`, which others load without it and which decodes as before where nothing is kept. Trained by
`pipelines/training/keeping.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from pipelines.errors import BadCheckpoint


class Keeping(nn.Module):
    """Kept pixels (B, 3, H, W) and a mask (B, 1, H, W), 1 where nothing is kept, to what is added at every place of a
    decoder at which `widths` channels go in; from the finest to the coarsest, each `strides` times smaller than the
    last. An untrained one adds nothing."""

    def __init__(self, widths: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        pairs = zip((4, *widths[:-1]), widths, strides, strict=True)
        self.layers = nn.ModuleList(nn.Conv2d(given, made, 3, stride, 1) for given, made, stride in pairs)
        self.heads = nn.ModuleList(nn.Conv2d(2 * width, width, 3, padding=1) for width in widths)
        for head in self.heads:
            nn.init.zeros_(head.weight)  # type: ignore[arg-type]
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor, mask: Tensor) -> list[Tensor]:
        """What is seen of the picture at every place, the finest first."""
        x, maps = torch.cat([pixels * (1 - mask), mask], 1), []
        for layer in self.layers:
            x = functional.silu(layer(x))
            maps.append(x)
        return maps

    def added(self, place: int, own: Tensor, seen: Tensor) -> Tensor:
        """What is added to a decoder's own maps at a place, by number from the finest."""
        answer: Tensor = self.heads[place](torch.cat([own, seen.to(own.dtype)], 1))
        return answer


def made_for(decoder: Any) -> Keeping:
    """An untrained branch for a decoder of diffusers' `AutoencoderKL`."""
    widths, strides = [decoder.conv_norm_out.num_channels], [1]
    for block in reversed(decoder.up_blocks):
        widths.append(block.resnets[0].in_channels)
        strides.append(2 if block.upsamplers else 1)
    return Keeping(widths, strides)


@contextmanager
def shown(decoder: Any, branch: Keeping, pixels: Tensor, mask: Tensor) -> Iterator[None]:
    """A decoder that sees the picture wherever the mask keeps, until the block is left."""
    maps = branch(pixels, mask)

    def mixed(place: int, layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:  # noqa: ARG001
        own, *rest = given
        free = functional.adaptive_max_pool2d(mask, own.shape[-2:])
        return own + branch.added(place, own, maps[place]) * (1 - free), *rest

    with ExitStack() as stack:
        for place, layer in enumerate((decoder.conv_norm_out, *reversed(decoder.up_blocks))):
            hook = layer.register_forward_pre_hook(partial(mixed, place))
            stack.callback(hook.remove)
        yield


def decode_keeping(vae: Any, latents: Tensor, pixels: Tensor, mask: Tensor, scale: float, shift: float) -> Tensor:
    """Pixels (B, 3, H, W) of latents, those of the picture wherever `mask` (B, 1, H, W) is 0."""
    kind = next(vae.parameters()).dtype
    seen, free = (each.to(latents.device, kind) for each in (pixels, mask))
    with shown(vae.decoder, vae.keeping, seen, free):
        answer: Tensor = vae.decode((latents / scale + shift).to(kind), return_dict=False)[0].float()
    return answer


def load_keeping(path: Path) -> Keeping:
    """What `pipelines/training/keeping.py` wrote. Raises BadCheckpoint."""
    try:
        with safe_open(path, "pt") as file:
            said = file.metadata() or {}
        branch = Keeping(*([int(each) for each in said[name].split(",")] for name in ("widths", "strides")))
        branch.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError):
        raise BadCheckpoint(f"{path.name} is damaged.") from None
    return branch.eval().requires_grad_(False)
