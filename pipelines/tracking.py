"""Where a point of one picture is in another, by what a painter sees in both: DIFT, finer than the network's own maps.

Features of a noised picture from within the network, averaged over noises: Tang et al. 2023, Section 3
(arXiv:2306.03881). A place of latents may be 16 pixels wide; what is seen again half a place further tells halves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines.errors import StudioError
from pipelines.painting import all_masked, encoded, noise_of

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from pipelines.memory import Memory
    from pipelines.models import ModelSpec

SHARE = 0.2  # of the way up the training steps; on Pocket PCK@0.1 is 0.89 at 0.05 and 0.2, and 0.85 at 0.4
NOISES = 2
FINE = 4  # places of a fine map for each of the latents; half of it is the least that is told apart
SHARP = 0.02  # of cosine; how much less alike a place near the best one may be and still have a say in where it is
WIDE = 3  # fine places around the best one that have


def teller(net: Any, spec: ModelSpec) -> Any:
    """The layer whose maps tell points apart best: the level before the last on the way up, and of a network of two
    levels, where that is too coarse, the first layer of the last. Raises StudioError."""
    blocks: Any = getattr(net, "up_blocks", [])
    if len(blocks) < 2:
        raise StudioError(f"{spec.title} shows no maps to track points by; choose a model with a UNet, such as Pocket.")
    return blocks[-2] if len(blocks) > 2 else blocks[-1].resnets[0]


def sighted(picture: Image.Image, spec: ModelSpec, memory: Memory) -> Tensor:
    """What a network sees at each place of an RGB picture, (C, h, w) of unit length about their mean, `FINE` places for
    each of its latents."""
    import torch
    from torch.nn.functional import normalize, pad

    from pipelines.device import on_host
    from pipelines.pictures import to_pixels

    factor, step = spec.factor, 4 * spec.factor
    ratio = spec.side / max(picture.size)
    width, height = (max(step, round(edge * ratio / step) * step) for edge in picture.size)
    pixels = to_pixels(picture.convert("RGB").resize((width, height))).to(memory.device.torch)
    wide = pad(pixels, (factor,) * 4, mode="replicate")
    shifts = [(y, x) for y in (0, factor // 2) for x in (0, factor // 2)]  # down, right
    cut = [wide[..., factor + y : factor + y + height, factor + x : factor + x + width] for y, x in shifts]
    with torch.inference_mode():
        with memory.use(spec.vae) as vae:
            latents = torch.cat([spec.encode(vae, each) for each in cut])  # (4, C, h, w)
        seen = on_host(_shown(latents, spec, memory)).float()
        fine = torch.stack([_laid(one, shift, factor) for one, shift in zip(seen, shifts, strict=True)]).mean(0)
        return normalize(fine - fine.mean((1, 2), keepdim=True), dim=0)


def found(
    before: Tensor, after: Tensor, points: Sequence[tuple[float, float]], size: tuple[int, int]
) -> list[tuple[float, float]]:
    """Where points of the picture seen `before` are in the one seen `after`, both of `size`, in pixels."""
    import torch

    from pipelines.motion import sampled

    rows, columns = after.shape[1:]
    scale = torch.tensor([columns / size[0], rows / size[1]])
    places = (torch.tensor(points) + 0.5) * scale - 0.5
    looks = sampled(before[None], places, (before.shape[1], before.shape[2])).T  # (n, C)
    alike = torch.einsum("nc,chw->nhw", looks, after)
    best = alike.flatten(1).argmax(1)
    grid = torch.stack(torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy"), -1).float()
    result = []
    for k, at in enumerate(best):
        middle = grid.reshape(-1, 2)[at]
        near = (grid - middle).norm(dim=-1) <= WIDE
        weights = ((alike[k] - alike[k].max()) / SHARP).exp() * near
        x, y = ((weights[..., None] * grid).sum((0, 1)) / weights.sum() + 0.5) / scale - 0.5
        result.append((float(x), float(y)))
    return result


def _shown(latents: Tensor, spec: ModelSpec, memory: Memory) -> Tensor:
    """The teller's maps (B, C, h, w) of latents, averaged over noises."""
    import torch

    cond, table = encoded(spec, memory, ""), spec.table().to(latents.device)
    sigma, noise = table[int(SHARE * (len(table) - 1))], noise_of(0)
    beside = all_masked(spec, memory, latents[:1]) if spec.inpaints else None
    kept: list[Tensor] = []
    with memory.use(spec.net) as net:
        hook = teller(net, spec).register_forward_hook(
            lambda _, __, output: kept.append(output[0] if isinstance(output, tuple) else output)
        )
        try:
            for _ in range(NOISES):
                drawn = noise(latents[:1]).expand(len(latents), -1, -1, -1)
                spec.predictor(net, beside)(spec.noised(latents, drawn, sigma), sigma, [cond])
        finally:
            hook.remove()
    return torch.stack(kept).mean(0)


def _laid(maps: Tensor, shift: tuple[int, int], factor: int) -> Tensor:
    """Maps (C, h, w) of a picture that was cut `shift` pixels further, on the fine places of the whole one."""
    import torch
    from torch.nn.functional import grid_sample

    axes = []
    for edge, by in zip(maps.shape[1:], shift, strict=True):
        places = (torch.arange(edge * FINE) + 0.5) / FINE  # in places of the latents, from the edge
        axes.append((places - by / factor) / edge * 2 - 1)
    grid = torch.stack(torch.meshgrid(axes[0], axes[1], indexing="ij")[::-1], -1)[None]
    return grid_sample(maps[None], grid, padding_mode="border", align_corners=False)[0]
