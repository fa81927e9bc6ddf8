"""Masks as arrays (H, W) of 0..255: 0 is kept, 255 may change entirely, what lies between changes in part.

Plain functions on arrays; they know no model and no request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageChops

from pipelines.errors import BadRequest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.uint8]  # (H, W)

ALIKE = 0.02  # two shapes whose sides differ by so much are the same but for rounding


def of_picture(picture: Image.Image) -> Mask:
    """What a picture of a mask says, white to change: its brightness, or its alpha where that alone says something."""
    if picture.mode not in ("RGBA", "LA"):
        return np.array(picture.convert("L"))
    alpha = picture.getchannel("A")
    seen = np.array(ImageChops.multiply(picture.convert("L"), alpha))
    return seen if seen.any() or alpha.getextrema()[0] == 255 else np.array(alpha)


def of_alpha(picture: Image.Image) -> Mask | None:
    """255 where a picture is not solid, the whole of which may change; None where all of it is solid."""
    if picture.mode != "RGBA" or picture.getchannel("A").getextrema()[0] == 255:
        return None
    return np.where(np.asarray(picture.getchannel("A")) < 255, 255, 0).astype(np.uint8)


def fitted(mask: Image.Image, size: tuple[int, int]) -> tuple[Image.Image, str]:
    """The mask at the picture's size, and a remark where it had to be scaled. Raises BadRequest for another shape."""
    if mask.size == size:
        return mask, ""
    sides = f"The mask is {mask.width} x {mask.height} pixels, the picture {size[0]} x {size[1]}"
    if abs(mask.width * size[1] / (mask.height * size[0]) - 1) > ALIKE:
        raise BadRequest(f"{sides}: they must have the same shape.")
    return mask.resize(size, Image.Resampling.BILINEAR), f"{sides}; the mask was scaled."


def grown(mask: Mask, pixels: int) -> Mask:
    """The mask, wider by so many pixels; each takes the value of the nearest that was masked."""
    if pixels == 0 or not mask.any():
        return mask
    distance, nearest = _distances(mask == 0, indices=True)
    return np.where(distance <= pixels, mask[tuple(nearest)], 0).astype(np.uint8)


def feathered(mask: Mask, pixels: int) -> Mask:
    """How much of the painting shows: 0 outside the mask, rising within it over so many pixels from its edge to 255.

    Where the mask is narrower than twice that, it rises faster, so that its middle shows whole. What changes little
    shows in part, from nothing at mask 0 to whole at a sixth, so that a weak mask leads to the picture itself.
    """
    inside = mask > 0
    shown = np.minimum(mask.astype(np.float32) * (6 / 255), 1)
    if pixels > 0 and inside.any() and not inside.all():
        distance = _distances(inside)
        reach = max(1.0, min(pixels, float(distance.max()) / 2))
        shown *= np.clip(distance / (reach + 1), 0, 1)
    return np.ceil(shown * 255).astype(np.uint8)


def resized(mask: Mask, size: tuple[int, int]) -> Mask:
    """The mask at another size; where that is smaller, a pixel takes the most of those it covers."""
    for axis, edge in ((1, size[0]), (0, size[1])):
        count = mask.shape[axis]
        starts = np.arange(edge) * count // edge
        ends = -(-(np.arange(edge) + 1) * count // edge)
        columns = [np.take(mask, np.minimum(starts + k, ends - 1), axis) for k in range(int((ends - starts).max()))]
        mask = np.maximum.reduce(columns)
    return mask


def box_of(mask: Mask) -> tuple[int, int, int, int]:
    """The smallest box around what may change. Raises BadRequest where there is nothing."""
    columns, rows = (np.flatnonzero(mask.any(axis)) for axis in (0, 1))
    if not len(columns):
        raise BadRequest("The mask is empty: paint over what should change.")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _distances(inside: NDArray[np.bool_], indices: bool = False) -> Any:
    """How far each pixel inside is from the nearest outside, and with `indices` which that is."""
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(inside, return_indices=indices)
