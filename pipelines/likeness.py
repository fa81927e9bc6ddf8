"""Whether two pictures look alike: a perceptual hash of 64 bits, and the distance between two.

The signs of the lowest frequencies of a small grey copy, as in pHash (Zauner 2010, "Implementation and Benchmarking of
Perceptual Image Hash Functions", section 3.2): scaling, recoding and mild changes of light leave most of them.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE, LOW = 32, 8  # pixels of the grey copy; frequencies kept each way
ALIKE = 6  # bits of 64 that may differ between two near-duplicates


def look(picture: Image) -> int:
    """The perceptual hash of a picture, as a signed 64-bit number."""
    import numpy as np
    from PIL.Image import Resampling

    grey = picture.convert("RGB").convert("L").resize((SIDE, SIDE), Resampling.LANCZOS)
    cosines = _cosines()
    low = (cosines @ np.asarray(grey, dtype=np.float64) @ cosines.T).ravel()  # (LOW * LOW,)
    bits = low > np.median(low[1:])
    value = int("".join("1" if bit else "0" for bit in bits), 2)
    return value - 2**64 if value >= 2**63 else value


def distance(a: int, b: int) -> int:
    """How many of 64 bits two hashes differ in: 0 the same look, about 32 strangers."""
    return ((a ^ b) & (2**64 - 1)).bit_count()


def distances(looks: Collection[int], look: int) -> dict[int, int]:
    """The distance of each of many hashes from one."""
    import numpy as np

    all_of_them = np.fromiter(looks, dtype=np.int64, count=len(looks))
    bits = np.bitwise_count((all_of_them ^ np.int64(look)).view(np.uint64))
    return dict(zip(all_of_them.tolist(), bits.tolist(), strict=True))


@cache
def _cosines() -> Any:
    """The rows (LOW, SIDE) of the cosine transform from which the lowest frequencies follow."""
    import numpy as np

    k, n = np.arange(LOW)[:, None], np.arange(SIDE)[None]
    return np.cos(np.pi * k * (2 * n + 1) / (2 * SIDE))
