"""What a small picture says of its enlargement: shrunk again, that is the small picture. Strip by strip, in floats.

Shrinking is Pillow's antialiased bicubic, as that of most files that are too small. It knows no network.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pipelines.tiles import spans

if TYPE_CHECKING:
    from numpy.typing import NDArray

Read = Callable[[int, int], Any]  # rows first..last of a picture, (last - first, W, 3) float32
KERNEL, SUPPORT = Image.Resampling.BICUBIC, 2  # support in pixels of the coarser of the two
PIXELS = 1 << 18  # of the larger picture at a time
GOOD = 0.2  # levels, root mean square; rounding to levels leaves about half of it
SLOW, FAST = 0.06, 1.2  # eigenvalues of enlarging and shrinking: the finest pattern's, and a little over the largest
RATE = 4 / (FAST**0.5 + SLOW**0.5) ** 2
MOMENTUM = ((FAST**0.5 - SLOW**0.5) / (FAST**0.5 + SLOW**0.5)) ** 2


def reader(picture: Image.Image) -> Read:
    """Rows of an RGB picture as levels."""
    return lambda first, last: np.asarray(picture.crop((0, first, picture.width, last)), np.float32)


def resized_rows(read: Read, height: int, size: tuple[int, int], first: int, last: int) -> NDArray[np.float32]:
    """Rows first..last of a picture of that height resized to `size`, reading no more of it than they need."""
    ratio = height / size[1]
    margin = ceil(SUPPORT * max(1.0, 1 / ratio)) + 1  # wanted rows around, so that no kernel is cut
    start, end = max(0, first - margin), min(size[1], last + margin)
    low, high = floor(start * ratio), min(height, ceil(end * ratio))
    rows = read(low, high)
    box = (0, start * ratio - low, rows.shape[1], min(end * ratio - low, rows.shape[0]))
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(rows[..., k])).resize((size[0], end - start), KERNEL, box))
        for k in range(rows.shape[2])
    ]
    return np.stack(planes, -1)[first - start : last - start]


def at_once(width: int) -> int:
    """How many rows of a picture so wide are worked on at a time."""
    return max(16, PIXELS // width)


def unexplained(large: Image.Image, small: Image.Image) -> NDArray[np.float32]:
    """What the small picture has and the large one, shrunk to it, has not: (h, w, 3) in levels."""
    lacking = np.empty((small.height, small.width, 3), np.float32)
    given, wanted = reader(large), reader(small)
    for first, last in spans(small.height, max(1, at_once(large.width) * small.height // large.height)):
        shrunk = resized_rows(given, large.height, small.size, first, last)
        lacking[first:last] = wanted(first, last) - shrunk
    return lacking


def residual(large: Image.Image, small: Image.Image) -> float:
    """The root mean square of what stays unexplained, of a range of 1."""
    return float(np.sqrt(np.square(unexplained(large, small)).mean())) / 255


def held(
    large: Image.Image, small: Image.Image, rounds: int = 24, refined: int = 4, smooth: float = 0.0, spare: bool = False
) -> Image.Image:
    """The large picture (RGB), brought to what the small one says of it by back-projection: what is lacking, enlarged,
    is added, again and again. Irani & Peleg 1991, "Improving resolution by image registration".

    Each round finds by `refined` steps what to enlarge, so that shrinking gives all that is lacking; a further round
    makes up for what left the range of levels, until no more than `GOOD` is lacking. With `smooth`, in pixels of the
    small picture, only what is lacking in its coarse tones is added. A `spare` picture is itself changed, not a copy.
    """
    result = large if spare else large.copy()
    for _ in range(rounds):
        lacking = unexplained(result, small)
        if np.sqrt(np.square(lacking).mean()) < GOOD:
            break
        if smooth:
            from scipy.ndimage import gaussian_filter

            lacking = gaussian_filter(lacking, (smooth, smooth, 0), mode="nearest")
        else:
            lacking = _before_shrinking(lacking, large.size, refined)
        _add(result, lacking)
    return result


def _before_shrinking(lacking: NDArray[np.float32], size: tuple[int, int], steps: int) -> NDArray[np.float32]:
    """What gives `lacking` when it is enlarged to a size and shrunk again, by Polyak's method with momentum."""
    found, last = lacking, lacking * 0
    for _ in range(steps):
        wrong = lacking - _there_and_back(found, size)
        found, last = found + RATE * wrong + MOMENTUM * (found - last), found
    return found


def _there_and_back(levels: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Levels (h, w, 3) enlarged to a size and shrunk again, never all of it at once."""
    height, width = levels.shape[:2]

    def enlarged(first: int, last: int) -> NDArray[np.float32]:
        return resized_rows(lambda low, high: levels[low:high], height, size, first, last)

    lines = spans(height, max(1, at_once(size[0]) * height // size[1]))
    return np.concatenate([resized_rows(enlarged, size[1], (width, height), *line) for line in lines])


def _add(picture: Image.Image, levels: NDArray[np.float32]) -> None:
    """Adds levels of another size to a picture, in place."""
    for first, last in spans(picture.height, at_once(picture.width)):
        rows = np.asarray(picture.crop((0, first, picture.width, last)), np.float32)
        more = resized_rows(lambda low, high: levels[low:high], levels.shape[0], picture.size, first, last)
        picture.paste(Image.fromarray((rows + more).round().clip(0, 255).astype(np.uint8)), (0, first))
