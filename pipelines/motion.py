"""The maths of putting things elsewhere: where each place takes what it shows from, warps of latents by that, energies
of features that say how far it is done, the tracking of points, and noise that is fresh in one region only.

Places are those of latents, (x, y) from the middle of the first. Pure functions; no network is known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pipelines import seams

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from pipelines.masks import Mask
    from pipelines.samplers import Path

    Region = NDArray[np.bool_]  # (h, w)
    Places = NDArray[np.float32]  # (..., 2), x and y

STILL = 0.25  # of a place; what moves by less is not moved


@dataclass(frozen=True, eq=False)
class Shift:
    """`origins` (h, w, 2): where each place takes what it shows from. `moved` takes it from elsewhere, `left` was
    uncovered and takes it from nowhere, `free` may change at all; each (h, w), the first two within the third."""

    origins: Places
    moved: Region
    left: Region
    free: Region


def itself(shape: tuple[int, int]) -> Places:
    """The places (h, w, 2) themselves: a shift that moves nothing."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return np.stack([columns, rows], -1)


def bent(handles: Places, targets: Places, free: Region, radius: float) -> Shift:
    """What is around each handle (n, 2), as far as `radius`, is shown around its target; between them and the edge of
    what is free, which stays, it is bent as smoothly as can be.

    The displacement is a membrane; one pass in the place of many, as in FastDrag, Zhao et al. 2024, Section 3.2
    (arXiv:2405.15769), whose stretch by rays wants a convex mask.
    """
    places = itself(free.shape)
    apart = np.linalg.norm(places[:, :, None] - targets, axis=-1)  # (h, w, n)
    near, inside = apart.argmin(-1), apart.min(-1) <= max(radius, 0.75) + 1e-6
    known = ~free | inside
    if not (~free).any():
        known[[0, -1]] = known[:, [0, -1]] = True  # a picture that is free everywhere still has its edge
    by = np.where(inside[..., None], (targets - handles)[near], 0).astype(np.float32)
    by = np.where(free[..., None], seams.membrane(by, known), 0)
    return Shift(places - by, free & (np.linalg.norm(by, axis=-1) > STILL), np.zeros_like(free), free)


def carried(thing: Region, at: tuple[float, float], to: tuple[float, float], scale: float, copies: bool) -> Shift:
    """A thing around `at` is shown around `to`, so many times as large; where it was is left, unless it `copies`."""
    places = itself(thing.shape)
    origins = (places - np.array(to, np.float32)) / scale + np.array(at, np.float32)
    rows, columns = thing.shape
    near = np.rint(origins).astype(int)
    inside = (near >= 0).all(-1) & (near[..., 0] < columns) & (near[..., 1] < rows)
    there = inside & thing[near[..., 1].clip(0, rows - 1), near[..., 0].clip(0, columns - 1)]
    still = np.linalg.norm(origins - places, axis=-1) <= STILL
    left = np.zeros_like(thing) if copies else thing & ~there
    moved = there & ~still
    origins = np.where(there[..., None], origins, places).astype(np.float32)
    return Shift(origins, moved, left, moved | left)


def sampled(maps: Tensor, places: Tensor, shape: tuple[int, int], nearest: bool = False) -> Tensor:
    """Values (C, ...) of maps (1, C, a, b) at places (..., 2) of a grid of `shape`, whatever the maps' own size."""
    import torch
    from torch.nn.functional import grid_sample

    sides = torch.tensor([shape[1], shape[0]], dtype=maps.dtype, device=maps.device)
    grid = (places.to(maps) + 0.5) / sides * 2 - 1
    flat = grid.reshape(1, 1, -1, 2)
    mode = "nearest" if nearest else "bilinear"
    values = grid_sample(maps, flat, mode, padding_mode="border", align_corners=False)[0, :, 0]
    return values.reshape(maps.shape[1], *places.shape[:-1])


def warped(latents: Tensor, shift: Shift, noise: Tensor) -> Tensor:
    """Noisy latents (1, C, h, w), each place as at its origin; what was left is `noise`. Taken whole from the nearest
    place, for a mean of noises has less variance than one."""
    import torch

    origins, left = (torch.from_numpy(each).to(latents.device) for each in (shift.origins, shift.left))
    near: tuple[int, int] = (latents.shape[2], latents.shape[3])
    return torch.where(left, noise, sampled(latents, origins, near, nearest=True)[None])


def energy(
    now: Sequence[Tensor], before: Sequence[Tensor], shift: Shift, kept: float = 0.5, gone: float = 0.3
) -> Tensor:
    """How far from done a shift is, as features (1, C, a, b) of the picture now and before see it: 0.2 is the least.

    Where it moved, the features should be those of the origin; where it did not, and `kept` times as much, those that
    were there; where it left, and `gone` times as much, unlike them. DragonDiffusion, Mou et al. 2023, Equations 5 to 8
    (arXiv:2307.02421); E = 1 / (1 + 4 S), S = (1 + cos) / 2, as in DiffEditor, Mou et al. 2024 (arXiv:2402.02583).
    """
    import torch
    from torch.nn.functional import cosine_similarity

    shape = shift.free.shape
    device = now[0].device
    origins, places = (torch.from_numpy(each).to(device) for each in (shift.origins, itself(shape)))
    still = shift.free & ~shift.moved & ~shift.left
    regions = [(shift.moved, origins, 1.0), (still, places, kept), (shift.left, places, -gone)]
    total = now[0].new_zeros(())
    for features, source in zip(now, before, strict=True):
        for region, sources, weight in regions:
            if region.any():
                inside = torch.from_numpy(region).to(device)
                here, there = sampled(features, places[inside], shape), sampled(source, sources[inside], shape)
                alike = (1 + cosine_similarity(here.float(), there.float(), dim=0).mean()) / 2
                total = total + weight / (1 + 4 * alike)
    return total / len(now)


def tracked(now: Tensor, looks: Tensor, near: Tensor, reach: float, shape: tuple[int, int]) -> Tensor:
    """Where features (1, C, a, b) are most like `looks` (n, C), at most `reach` from places `near` (n, 2); (n, 2).

    DIFT, Tang et al. 2023, Section 3 (arXiv:2306.03881), searched in steps of a quarter of a place.
    """
    import torch
    from torch.nn.functional import cosine_similarity

    count = max(1, round(reach * 4))
    steps = torch.arange(-count, count + 1, device=now.device) / count * reach
    around = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).reshape(-1, 2)
    around = around[around.norm(dim=-1) <= reach + 1e-4]
    around = around[around.norm(dim=-1).argsort()]  # of equals, the nearest
    sides = torch.tensor([shape[1] - 1, shape[0] - 1], device=now.device)
    found = []
    for look, place in zip(looks, near, strict=True):
        places = torch.minimum((place + around).clamp(min=0), sides)
        alike = cosine_similarity(sampled(now, places, shape).float(), look[:, None].float(), dim=0)
        found.append(places[alike.argmax()])
    return torch.stack(found)


def supervision(features: Tensor, points: Tensor, targets: Tensor, radius: int, shape: tuple[int, int]) -> Tensor:
    """How unlike what is around each point is to what is one step nearer to its target, which should become it.

    DragDiffusion, Shi et al. 2023, Equation 3 (arXiv:2306.14435), without its term for the mask.
    """
    import torch

    steps = torch.arange(-radius, radius + 1, device=features.device, dtype=features.dtype)
    patch = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)[None]  # (1, p, p, 2)
    ways = targets - points
    lengths = ways.norm(dim=-1, keepdim=True)
    ways = ways / lengths.clamp(min=1)  # one place a step, and less at the end
    here = points[:, None, None] + patch
    wanted = sampled(features, here, shape).detach()
    return (sampled(features, here + ways[:, None, None], shape) - wanted).abs().mean()


def stepped(x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor, eta: Tensor, path: Path) -> Tensor:
    """DDIM's step to `sigma_next` with fresh noise where `eta` (1, 1, h, w) is above 0: regional SDE.

    DiffEditor, Mou et al. 2024, Equation 8 (arXiv:2402.02583).
    """
    alpha, following = path.alpha(sigma), path.alpha(sigma_next)
    share = (1 - (alpha * sigma_next / (following * sigma)) ** 2).clamp(min=0).sqrt()
    up = (eta * sigma_next * share).clamp(max=float(sigma_next))
    eps = (x - alpha * denoised) / sigma
    fresh = up * path.noise(x) if bool((up > 0).any()) else 0
    return following * denoised + (sigma_next**2 - up**2).sqrt() * eps + fresh


def returned(x: Tensor, sigma: Tensor, sigma_above: Tensor, path: Path) -> Tensor:
    """x carried back up to a level above: time travel. RePaint, Lugmayr et al. 2022, Algorithm 1 (arXiv:2201.09865)."""
    ratio = path.alpha(sigma_above) / path.alpha(sigma)
    return ratio * x + (sigma_above**2 - (ratio * sigma) ** 2).clamp(min=0).sqrt() * path.noise(x)


def placed(
    below: Image.Image, picture: Image.Image, mask: Mask, to: tuple[float, float], scale: float
) -> tuple[Image.Image, Mask]:
    """`below` with what a mask (H, W) covers of a picture laid onto it, the middle of its box at `to`, so many times as
    large; and how much of it each pixel of `below` shows, 0..255."""
    left, top, right, bottom = box = Image.fromarray(mask).getbbox() or (0, 0, 1, 1)
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    art = picture.convert("RGBA")
    alpha = np.minimum(np.asarray(art.getchannel("A")), mask)
    art.putalpha(Image.fromarray(alpha))
    art = art.crop(box)
    if size != art.size:
        art = art.resize(size, Image.Resampling.LANCZOS)
    corner = (round(to[0] - size[0] / 2), round(to[1] - size[1] / 2))
    shown = Image.new("L", below.size)
    shown.paste(art.getchannel("A"), corner)
    whole = below.convert("RGB")
    whole.paste(art.convert("RGB"), corner, art.getchannel("A"))
    if below.mode == "RGBA":
        whole.putalpha(Image.fromarray(np.maximum(np.asarray(below.getchannel("A")), np.asarray(shown))))
    return whole, np.asarray(shown)
