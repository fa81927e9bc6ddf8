"""What joins a painting to the picture around it: colours matched along the seam, and a measure of how it shows.

The correction is the membrane of gradient-domain cloning: the step from the picture to the painting along the seam,
spread inwards as smoothly as can be. Pérez et al. 2003, "Poisson Image Editing", Equations 4 and 5. The step is taken
across the seam and not between the two pictures, for a painter that was shown the picture repeats it outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Levels = NDArray[np.float32]  # (H, W, C), 0..255
    Region = NDArray[np.bool_]  # (H, W)

BAND = 2  # pixels to each side of the seam at which painting and picture are compared
REACH = 3.0  # pixels along the seam over which they are averaged: texture is no step
TONE, THING = 40.0, 120.0  # levels; up to here a step is a matter of tone, from there on of what is shown
SWEEPS = 8  # of Jacobi's method at each size; each size begins with the answer of half of it
LEAST = 0.5  # levels; 8 bits hold no smaller differences


def matched(painted: Levels, picture: Levels, region: Region) -> Levels:
    """The painting with its colours shifted so that it goes on from the picture at the edge of `region`."""
    rim = neighbours(region, 1) & ~region
    if not rim.any():
        return painted
    shift = membrane(np.where(rim[..., None], step(painted, picture, region), 0), rim, region)
    return np.where(region[..., None], painted + shift, painted)


def step(painted: Levels, picture: Levels, region: Region) -> Levels:
    """How much the picture outside differs from the painting inside, near each place of the region's edge; what differs
    by more than tones do is another thing, and no step."""
    outside, inside = neighbours(region, BAND) & ~region, neighbours(~region, BAND) & region
    difference = _near(picture, outside) - _near(painted, inside)
    strength = np.abs(difference).max(-1, keepdims=True)
    return difference * np.clip((THING - strength) / (THING - TONE), 0, 1)


def _near(levels: Levels, band: Region) -> Levels:
    """The mean of the levels in a band, near each place."""
    from scipy.ndimage import gaussian_filter

    weight = gaussian_filter(band.astype(np.float32), REACH)[..., None]
    return gaussian_filter(levels * band[..., None], (REACH, REACH, 0)) / np.maximum(weight, 1e-6)


def membrane(values: Levels, known: Region, wanted: Region | None = None) -> Levels:
    """`values` where they are `known`, and between them a surface as smooth as can be; from coarse to fine.

    With `wanted`, only there; elsewhere it may be anything.
    """
    open_places = ~known if wanted is None else wanted & ~known
    if known.all() or not known.any() or min(known.shape) == 0:
        return values
    if max(known.shape) == 1:
        return values
    surface = np.where(known[..., None], values, _doubled(membrane(*_halved(values, known)), known.shape))
    surface = surface.astype(np.float32)
    for _ in range(SWEEPS):
        around = np.pad(surface, ((1, 1), (1, 1), (0, 0)), mode="edge")
        mean = (around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]) / 4
        surface = np.where(open_places[..., None], mean, surface)
    return surface


def surrounded(picture: Image.Image, region: Region) -> Image.Image:
    """The RGB picture with a region filled smoothly from what lies around it; grey where nothing does."""
    levels = np.asarray(picture, np.float32)
    if region.all():
        return Image.new("RGB", picture.size, (128, 128, 128))
    return Image.fromarray(membrane(levels * ~region[..., None], ~region).round().clip(0, 255).astype(np.uint8))


def energy(picture: Image.Image, region: Region) -> float | None:
    """How much the edge of a region shows: the mean difference of neighbours across it over that of neighbours within
    it, over all colours; 1 is an edge like any other place. None where there is no edge, or nothing within.
    """
    levels = np.asarray(picture.convert("RGB"), np.float32)
    across, inside = [], []
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        step = np.abs(levels[one] - levels[other]).mean(-1)
        across.append(step[region[one] != region[other]])
        inside.append(step[region[one] & region[other]])
    over, within = np.concatenate(across), np.concatenate(inside)
    if not len(over) or not len(within):
        return None
    return float(over.mean() / max(within.mean(), LEAST))


def neighbours(region: Region, pixels: int) -> Region:
    """The region and what is at most so many steps from it."""
    for _ in range(pixels):
        around = np.pad(region, 1)
        region = region | around[:-2, 1:-1] | around[2:, 1:-1] | around[1:-1, :-2] | around[1:-1, 2:]
    return region


def _halved(values: Levels, known: Region) -> tuple[Levels, Region]:
    """Half the size: the mean of what is known of each four places."""
    rows, columns = (edge + edge % 2 for edge in known.shape)
    pad = ((0, rows - known.shape[0]), (0, columns - known.shape[1]))
    weight = np.pad(known.astype(np.float32), pad)[..., None]
    total = np.pad(values.astype(np.float32), (*pad, (0, 0))) * weight
    count, summed = (_fours(each) for each in (weight, total))
    return summed / np.maximum(count, 1), count[..., 0] > 0


def _fours(values: Any) -> Any:
    return values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]


def _doubled(values: Levels, shape: tuple[int, ...]) -> Levels:
    """Back at twice the size, smoothly, less what was padded."""
    for axis in (0, 1):
        before = np.concatenate([np.take(values, [0], axis), np.delete(values, -1, axis)], axis)
        after = np.concatenate([np.delete(values, 0, axis), np.take(values, [-1], axis)], axis)
        both = np.stack([values * 0.75 + before * 0.25, values * 0.75 + after * 0.25], axis + 1)
        values = both.reshape([2 * n if k == axis else n for k, n in enumerate(values.shape)])
    return values[: shape[0], : shape[1]]
