"""Pictures bent by arrows: which pixel each place shows, for things that move as they are and for parts that stretch.

The same map serves pixels, where it is exact, and latents, whose places are many pixels wide. It knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pipelines.motion import STILL, Shift, bent, itself

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.frames import Frame
    from pipelines.gestures import Arrow
    from pipelines.motion import Places, Region

BAND = 2**20  # places worked on at once
NEAR = 1e-6  # square pixels; closer to an arrow's end than this is at it


def similar(places: Places, handles: Places, targets: Places) -> Places:
    """Where places (..., 2) go if each handle (n, 2) goes to its target: one handle shifts, two turn and scale as well,
    more bend, with as little stretching as can be.

    Moving least squares with similarities: Schaefer et al. 2006, "Image Deformation Using Moving Least Squares",
    Section 2.2; its 2 x 2 matrices are products of complex numbers here.
    """
    middle = complex(*np.asarray(handles, float).mean(0))
    v, p, q = (
        each[..., 0] + 1j * each[..., 1] - middle for each in (np.asarray(k, float) for k in (places, handles, targets))
    )
    total, mean_p, mean_q, turned, spread = (
        np.zeros(v.shape, kind) for kind in (float, complex, complex, complex, float)
    )
    for one, other in zip(p, q, strict=True):
        weight = 1 / (np.abs(one - v) ** 2 + NEAR)
        total += weight
        mean_p += weight * one
        mean_q += weight * other
        turned += weight * one.conjugate() * other
        spread += weight * abs(one) ** 2
    mean_p, mean_q = mean_p / total, mean_q / total
    spread = spread / total - np.abs(mean_p) ** 2
    turned = turned / total - mean_p.conjugate() * mean_q
    factor = np.where(spread > NEAR, turned / np.maximum(spread, NEAR), 1) if len(p) > 1 else np.ones_like(v)
    to = factor * (v - mean_p) + mean_q + middle
    return np.stack([to.real, to.imag], -1).astype(np.float32)


def pulled(things: Region, arrows: Sequence[Arrow], free: Region) -> Shift:
    """Each connected thing (H, W) goes where the arrows that begin on it say, as far as it is free; in pixels."""
    from scipy.ndimage import label

    parts, _ = label(things, np.ones((3, 3)))
    origins, covered, gone = itself(things.shape), np.zeros_like(things), np.zeros_like(things)
    for part in sorted({_part(parts, each) for each in arrows if each.length} - {0}):
        ends = np.array([each for each in arrows if _part(parts, each) == part], np.float32)  # (n, 2, 2)
        back = np.concatenate([similar(each, ends[:, 1], ends[:, 0]) for each in bands(itself(things.shape))])
        there = _at(parts == part, back) & free
        origins = np.where(there[..., None], back, origins)
        covered |= there
        gone |= (parts == part) & free
    moved = covered & (np.linalg.norm(origins - itself(things.shape), axis=-1) > STILL)
    left = gone & ~covered
    return Shift(origins.astype(np.float32), moved, left, moved | left)


def stretched(arrows: Sequence[Arrow], free: Region, reach: float) -> Shift:
    """What is around each handle goes to its target, and what lies between it and what is not free is stretched."""
    ends = np.array(arrows, np.float32)
    return bent(ends[:, 0], ends[:, 1], free, reach)


def shown(picture: Image.Image, shift: Shift) -> Image.Image:
    """The picture with every pixel that moved as at its origin, between pixels by cubic splines; all else as it is."""
    from scipy.ndimage import map_coordinates

    levels = np.asarray(picture)
    origins = shift.origins[shift.moved]  # (n, 2)
    whole = np.abs(origins - np.rint(origins)).max(initial=0) < 1e-3
    result = levels.copy()
    for channel in range(levels.shape[2]):
        values = map_coordinates(
            levels[..., channel].astype(np.float32), origins[:, ::-1].T, order=0 if whole else 3, mode="nearest"
        )
        result[..., channel][shift.moved] = values.round().clip(0, 255)
    return Image.fromarray(result, picture.mode)


def coarse(shift: Shift, frame: Frame, factor: int, shape: tuple[int, int], free: Region) -> Shift:
    """A shift in pixels as a shift of latents of `shape` that paint a frame, `factor` pixels a place."""
    left, top, right, bottom = frame.box
    scale = np.array([frame.width / (right - left), frame.height / (bottom - top)], np.float32) / factor
    centres = ((itself(shape) + 0.5) / scale + (left, top)).astype(int)
    rows, columns = shift.free.shape
    x, y = centres[..., 0].clip(0, columns - 1), centres[..., 1].clip(0, rows - 1)
    by = (shift.origins - itself(shift.free.shape))[y, x] * scale
    moved, gone = (each[y, x] & free for each in (shift.moved, shift.left))
    by = np.where(moved[..., None], by, 0).astype(np.float32)
    return Shift(itself(shape) + by, moved, gone & ~moved, free)


def bands(places: Places) -> list[Places]:
    """Places (h, w, 2) in bands of rows, each small enough that work on them fits in memory beside a large picture."""
    return np.array_split(places, max(1, places.shape[0] * places.shape[1] // BAND))


def _part(parts: NDArray[np.int32], arrow: Arrow) -> int:
    return int(parts[int(arrow.handle.y), int(arrow.handle.x)])


def _at(region: Region, places: Places) -> Region:
    """Whether a region is at places (..., 2); beyond the picture it is not."""
    rows, columns = region.shape
    near = np.rint(places).astype(int)
    inside = (near >= 0).all(-1) & (near[..., 0] < columns) & (near[..., 1] < rows)
    return inside & region[near[..., 1].clip(0, rows - 1), near[..., 0].clip(0, columns - 1)]
