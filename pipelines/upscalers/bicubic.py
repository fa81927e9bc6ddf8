"""Bicubic interpolation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.events import Stage
from pipelines.upscalers import Enlarging, Upscaler, upscalers

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.memory import Memory
    from pipelines.painting import Sampled


@upscalers.register("bicubic")
class Bicubic(Upscaler):
    """Plain interpolation, a little softer, with less ringing at edges. Keys 1981, "Cubic Convolution"."""

    def __call__(self, picture: Image, size: tuple[int, int], request: Sampled, memory: Memory) -> Enlarging:
        from PIL.Image import Resampling

        yield Stage("Enlarging")
        return picture.resize(size, Resampling.BICUBIC)
