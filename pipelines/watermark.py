"""An invisible mark in the pixels: whether a picture was made by this studio can be seen without its metadata.

Spread spectrum in the cosine transform, after Cox et al. 1997, "Secure Spread Spectrum Watermarking for Multimedia"
(IEEE Trans. Image Processing 6(12)): a fixed pattern of signs is added to middle frequencies of the brightness, each in
proportion to what is there, and found by correlation. Frequencies are those of the whole picture brought to one size,
so that scaling leaves them where they are. Cropping and turning are not survived. It says "made here" and nothing else.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 256  # pixels that a picture is brought to, each way
LOW, HIGH = 14, 104  # the frequencies that carry the mark: above what the eye follows, below what JPEG drops
SEED = 20_261_121
STRENGTH, FLOOR = 0.1, 2.5  # of what is there, and of levels where nothing is
THRESHOLD = 5.0  # standard deviations of the correlation; chance exceeds it once in three million pictures


def marked(picture: Image) -> Image:
    """The same picture with the mark, size and mode kept; one that carries it already is returned as it is."""
    import numpy as np
    from PIL import Image as pillow  # noqa: N813

    if is_marked(picture):
        return picture
    seen = _transformed(picture.convert("RGB").convert("YCbCr").getchannel(0))
    change = np.zeros_like(seen)
    band, signs = _pattern()
    change[band] = signs * (STRENGTH * np.abs(seen[band]) + FLOOR)
    small = pillow.fromarray(_back(change).astype(np.float32))
    added = np.asarray(small.resize(picture.size, pillow.Resampling.BICUBIC))
    whole = np.asarray(picture.convert("RGB"), dtype=np.float32) + added[..., None]
    result = pillow.fromarray(whole.round().clip(0, 255).astype(np.uint8))
    if picture.mode == "RGBA":
        result.putalpha(picture.getchannel("A"))
    return result


def is_marked(picture: Image) -> bool:
    """Whether a picture carries the mark."""
    return score(picture) > THRESHOLD


def score(picture: Image) -> float:
    """How far the correlation with the mark lies from what chance makes of it, in standard deviations."""
    import numpy as np

    seen = _transformed(picture.convert("RGB").convert("YCbCr").getchannel(0))
    band, signs = _pattern()
    values = seen[band] / (_around(np.abs(seen))[band] + 1)  # each frequency counts alike, however strong around it
    values = values.clip(-3, 3)
    return float((values * signs).sum() / np.sqrt((values**2).sum() + 1e-9))


def _transformed(brightness: Image) -> Any:
    """The cosine transform (SIDE, SIDE) of a grey picture brought to one size; orthonormal."""
    import numpy as np
    from PIL.Image import Resampling

    cosines = _cosines()
    small = brightness.resize((SIDE, SIDE), Resampling.BICUBIC)
    return cosines @ np.asarray(small, dtype=np.float64) @ cosines.T


def _back(seen: Any) -> Any:
    cosines = _cosines()
    return cosines.T @ seen @ cosines


def _around(strength: Any) -> Any:
    """The mean of 9 x 9 frequencies around each."""
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view

    padded = np.pad(strength, 4, mode="reflect")
    rows = sliding_window_view(padded, 9, axis=0).mean(-1)
    return sliding_window_view(rows, 9, axis=1).mean(-1)


@cache
def _cosines() -> Any:
    import numpy as np

    k, n = np.arange(SIDE)[:, None], np.arange(SIDE)[None]
    scale = np.where(k == 0, np.sqrt(1 / SIDE), np.sqrt(2 / SIDE))
    return scale * np.cos(np.pi * k * (2 * n + 1) / (2 * SIDE))


@cache
def _pattern() -> tuple[Any, Any]:
    """Which frequencies carry the mark (SIDE, SIDE), true where they do, and the signs of those."""
    import numpy as np

    k, n = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(k, n)
    band = (distance >= LOW) & (distance < HIGH)
    signs = np.random.default_rng(SEED).integers(0, 2, int(band.sum())) * 2.0 - 1
    return band, signs
