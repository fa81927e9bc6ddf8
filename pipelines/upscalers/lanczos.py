"""Lanczos interpolation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.events import Stage
from pipelines.upscalers import Enlarging, Upscaler, upscalers

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.memory import Memory
    from pipelines.painting import Sampled


@upscalers.register("lanczos")
class Lanczos(Upscaler):
    """Plain interpolation, at once: no detail is added. Duchon 1979, "Lanczos Filtering"."""

    def __call__(self, picture: Image, size: tuple[int, int], request: Sampled, memory: Memory) -> Enlarging:
        from PIL.Image import Resampling

        yield Stage("Enlarging")
        return picture.resize(size, Resampling.LANCZOS)
