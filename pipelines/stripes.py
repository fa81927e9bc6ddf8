"""An autoencoder's pictures made stripe by stripe: the same pixels, a fraction of the memory.

A decoder's maps are far larger than its weights. Here they lie in host memory, and each convolution visits them in
stripes with the rows around that it reaches into. Normalisation needs the whole map: its mean and variance are summed
over the stripes first, so nothing is approximated and no seam can show, unlike in tiles that are decoded apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.device import on_host

PIXELS = 128 * 128  # of a stripe
RESNET = ("norm1", "conv1", "norm2", "conv2")


def can_stripe(module: nn.Module) -> bool:
    """Whether this is a KL autoencoder of the kind that the functions below walk through."""
    decoder, encoder = getattr(module, "decoder", None), getattr(module, "encoder", None)
    ends = ("conv_in", "mid_block", "conv_norm_out", "conv_act", "conv_out")
    if not all(hasattr(each, name) for each in (decoder, encoder) for name in ends):
        return False
    blocks = [*getattr(decoder, "up_blocks", [None]), *getattr(encoder, "down_blocks", [None])]
    resnets = [each for block in blocks for each in getattr(block, "resnets", [None])]
    plain = all(getattr(each, "attentions", None) is None for each in blocks)
    return plain and all(_is_plain(each) for each in resnets)


def _is_plain(resnet: Any) -> bool:
    return (
        all(hasattr(resnet, name) for name in RESNET)
        and getattr(resnet, "time_emb_proj", None) is None
        and resnet.upsample is None
        and resnet.downsample is None
        and isinstance(resnet.norm1, nn.GroupNorm)
    )


@contextmanager
def striped(module: Any, check: Callable[[], None]) -> Iterator[None]:
    """Decoder and encoder work in stripes until the block is left; `check` is called before each stripe."""
    module.decoder.forward = partial(_decoded, module.decoder, check)
    module.encoder.forward = partial(_encoded, module.encoder, check)
    try:
        yield
    finally:
        del module.decoder.forward, module.encoder.forward


def _decoded(decoder: Any, check: Callable[[], None], sample: Tensor, *_: Any) -> Tensor:
    place = sample.device
    sample = decoder.mid_block(decoder.conv_in(sample))
    walk = _Walk(place, sample.dtype, check)
    maps = on_host(sample)
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            maps = walk.through(resnet, maps)
        for layer in block.upsamplers or ():
            maps = walk.enlarged(layer.conv, maps)
    return walk.ended(decoder, maps)


def _encoded(encoder: Any, check: Callable[[], None], sample: Tensor) -> Tensor:
    walk = _Walk(sample.device, sample.dtype, check)
    maps = walk.convolved(encoder.conv_in, on_host(sample), lambda stripe: stripe)
    for block in encoder.down_blocks:
        for resnet in block.resnets:
            maps = walk.through(resnet, maps)
        for layer in block.downsamplers or ():
            maps = walk.halved(layer, maps)
    return walk.ended(encoder, on_host(encoder.mid_block(maps.to(walk.place))))


@dataclass(frozen=True)
class _Walk:
    """Layers applied to maps in host memory (B, C, H, W), on the device a stripe at a time."""

    place: torch.device
    kind: torch.dtype
    check: Callable[[], None]

    def through(self, resnet: Any, maps: Tensor) -> Tensor:
        """x + conv2(silu(norm2(conv1(silu(norm1(x))))))."""
        inner = self.convolved(resnet.conv1, maps, self.normed(resnet.norm1, maps, resnet.nonlinearity))
        shortcut = resnet.conv_shortcut or (lambda stripe: stripe)

        def added(stripe: Tensor, top: int) -> Tensor:
            beside = maps[:, :, top : top + stripe.shape[2]].to(self.place)
            return (shortcut(beside) + stripe) / resnet.output_scale_factor

        return self.convolved(resnet.conv2, inner, self.normed(resnet.norm2, inner, resnet.nonlinearity), added)

    def ended(self, net: Any, maps: Tensor) -> Tensor:
        """What follows the last block of an encoder or a decoder; back on the device."""
        return self.convolved(net.conv_out, maps, self.normed(net.conv_norm_out, maps, net.conv_act)).to(self.place)

    def convolved(
        self,
        conv: Any,
        maps: Tensor,
        before: Callable[[Tensor], Tensor],
        after: Callable[[Tensor, int], Tensor] = lambda stripe, _: stripe,
    ) -> Tensor:
        """after(conv(before(maps))) for a convolution that keeps the size."""
        made = maps.new_empty(len(maps), conv.out_channels, *maps.shape[2:])
        reach, height = conv.kernel_size[0] // 2, maps.shape[2]
        for top, bottom in self.stripes(maps):
            low, high = max(top - reach, 0), min(bottom + reach, height)
            stripe = conv(before(maps[:, :, low:high].to(self.place)))
            made[:, :, top:bottom] = on_host(after(stripe[:, :, top - low : bottom - low], top))
        return made

    def enlarged(self, conv: Any, maps: Tensor) -> Tensor:
        """Every pixel four times, then a convolution."""
        made = maps.new_empty(len(maps), conv.out_channels, 2 * maps.shape[2], 2 * maps.shape[3])
        for top, bottom in self.stripes(maps, 4):
            low, high = max(top - 1, 0), min(bottom + 1, maps.shape[2])
            large = functional.interpolate(maps[:, :, low:high].to(self.place), scale_factor=2.0, mode="nearest")
            made[:, :, 2 * top : 2 * bottom] = on_host(conv(large)[:, :, 2 * (top - low) : 2 * (bottom - low)])
        return made

    def halved(self, layer: Any, maps: Tensor) -> Tensor:
        """A convolution of stride 2 over maps with a frame of zeros: behind only, where the layer itself adds none."""
        framed = functional.pad(maps, (0, 1, 0, 1) if layer.padding == 0 else (1, 1, 1, 1))
        height, width = ((side - 3) // 2 + 1 for side in framed.shape[2:])
        made = maps.new_empty(len(maps), layer.conv.out_channels, height, width)
        usual, layer.conv.padding = layer.conv.padding, (0, 0)
        try:
            for top, bottom in self.stripes(made):
                made[:, :, top:bottom] = on_host(layer.conv(framed[:, :, 2 * top : 2 * bottom + 1].to(self.place)))
        finally:
            layer.conv.padding = usual
        return made

    def normed(self, norm: Any, maps: Tensor, act: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """act(norm(stripe)) with the mean and the variance of the whole map."""
        groups, count = norm.num_groups, maps[0].numel() // norm.num_groups
        total = torch.zeros(len(maps), groups, dtype=torch.float64)
        square = torch.zeros_like(total)
        for top, bottom in self.stripes(maps):
            stripe = maps[:, :, top:bottom].to(self.place).float().reshape(len(maps), groups, -1)
            total += on_host(stripe.sum(2)).double()
            square += on_host(stripe.square().sum(2)).double()
        mean = total / count
        scale = (square / count - mean**2).clamp(min=0).add(norm.eps).rsqrt()
        each = maps.shape[1] // groups
        mean, scale = (x.float().repeat_interleave(each, 1)[:, :, None, None].to(self.place) for x in (mean, scale))
        weight, bias = (x.float()[None, :, None, None] for x in (norm.weight, norm.bias))
        return lambda stripe: act(((stripe.float() - mean) * (scale * weight) + bias).to(self.kind))

    def stripes(self, maps: Tensor, grown: int = 1) -> Iterator[tuple[int, int]]:
        """First row and the row behind the last, stripe by stripe; each pixel becomes `grown`."""
        height, rows = maps.shape[2], max(PIXELS // (maps.shape[3] * grown), 8)
        for top in range(0, height, rows):
            self.check()
            yield top, min(top + rows, height)
