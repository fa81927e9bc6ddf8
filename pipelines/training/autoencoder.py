"""The autoencoder of the built-in model: an AutoencoderKL taught to write and to read a fixed linear code.

Encoder and decoder learn by plain regression to and from the code, then both together, held to it by an anchor. The
posterior is not sampled in training, which was unstable; a little fixed noise on the latents takes its place.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from pipelines.training.linear_code import CHANNELS, LinearCode
from pipelines.training.patterns import pattern
from pipelines.training.scenes import Split, draw, sample_scene, stream

WIDTHS = (16, 32, 64, 128, 192)
TOY_WIDTHS = (8, 8, 8, 16, 16)
NOISE = 0.04  # on latents of unit size, so that the decoder forgives what the painter gets a little wrong
APART = 0.6  # the share of the budget in which encoder and decoder learn apart
LOG_VARIANCE = -14.0  # of the exported posterior: as good as certain, and finite


def make_autoencoder(widths: tuple[int, ...] = WIDTHS) -> AutoencoderKL:
    """An untrained AutoencoderKL, 16 pixels and 32 channels a latent, whose latents need no scaling."""
    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths),
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=1.0,
        force_upcast=False,
        sample_size=256,
    )


def to_pixels(pictures: list[Image.Image]) -> Tensor:
    """Pictures of one size as (B, 3, H, W) in [-1, 1]."""
    stacked = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 127.5 - 1


def drawn(split: Split, indices: range) -> Tensor:
    """The scenes of these numbers as pixels (B, 3, 256, 256)."""
    return to_pixels([draw(sample_scene(stream(split, index), split)) for index in indices])


def lesson(seed: int, step: int, batch: int) -> Tensor:
    """The pixels of a step: scenes and patterns half and half; every fourth batch a quarter as many, twice the size."""
    rng = Random(f"{seed} autoencoder {step}")
    side, count = (256, max(2, batch // 4)) if step % 4 == 3 else (128, batch)
    pictures = []
    for k in range(count):
        if k % 2:
            pictures.append(pattern(rng, side))
            continue
        picture = draw(sample_scene(stream("train", rng.randrange(2**40))))
        left, top = rng.randint(0, 256 - side), rng.randint(0, 256 - side)
        pictures.append(picture.crop((left, top, left + side, top + side)))
    return to_pixels(pictures)


def picture_loss(painted: Tensor, pixels: Tensor) -> Tensor:
    """Absolute and squared error, and the absolute error of both gradients, which is what keeps edges crisp."""
    error = painted.float() - pixels
    slopes = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 2 * error.square().mean() + 0.5 * slopes


def mean_latents(net: Any, pixels: Tensor) -> Tensor:
    """The latents (B, 32, H/16, W/16) that the encoder would choose."""
    return torch.as_tensor(net.encode(pixels).latent_dist.mean).float()


@dataclass(frozen=True)
class Regression:
    """The losses of the autoencoder at a point of its budget."""

    net: AutoencoderKL
    code: LinearCode

    def loss(self, pixels: Tensor, together: bool, generator: torch.Generator) -> Tensor:
        """The loss of one batch; `together` lets the decoder read what the encoder wrote."""
        target = self.code.encode(pixels)
        written = mean_latents(self.net, pixels)
        anchor = (written - target).square().mean()
        noise = NOISE * torch.randn(target.shape, generator=generator).to(target)
        read = self.net.decode((written if together else target) + noise).sample
        return picture_loss(read, pixels) + (0.3 if together else 3.0) * anchor


@torch.no_grad()
def examine(net: Any, code: LinearCode, pixels: Tensor) -> dict[str, float]:
    """Decibels: through both halves, through the decoder from the linear code alone, and of that code by itself."""
    net.eval()
    written, linear = mean_latents(net, pixels), code.encode(pixels)
    return {
        "psnr": decibels(net.decode(written).sample, pixels),
        "psnr_from_code": decibels(net.decode(linear).sample, pixels),
        "psnr_linear": decibels(code.decode(linear), pixels),
        "latent_error": float((written - linear).square().mean().sqrt()),
    }


def decibels(painted: Tensor, pixels: Tensor) -> float:
    """The mean peak signal-to-noise ratio of pictures in [-1, 1]."""
    error = ((painted.float().clamp(-1, 1) - pixels) / 2).square().mean(dim=(1, 2, 3))
    return round(float((-10 * error.log10()).mean()), 3)


def seal(net: AutoencoderKL) -> AutoencoderKL:
    """Set the posterior's width, which training never looked at, to almost nothing."""
    last: Any = net.encoder.conv_out
    with torch.no_grad():
        last.weight[CHANNELS:].zero_()
        last.bias[CHANNELS:].fill_(LOG_VARIANCE)
    return net
