"""The studio's own small network, in one pass per tile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pipelines.events import Progress, Stage
from pipelines.knobs import knob
from pipelines.upscalers import Enlarging, Upscaler, shipped

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.memory import Memory
    from pipelines.painting import Sampled

SIDE = 172  # pixels of the small picture that a tile reads

Restore = Annotated[
    float,
    *knob(
        "Restore",
        "How much blur, noise and compression is taken away: 0 trusts the picture.",
        ge=0,
        le=1,
        step=0.05,
    ),
]


@shipped("compact", "compact.safetensors")
class Compact(Upscaler):
    """Sharp edges from a small network of our own, in moments. Pixel shuffle: Shi et al. 2016 (arXiv:1609.05158)."""

    title = "Compact network"

    restore: Restore = 0.0

    def beside(self, memory: Memory) -> int:
        """Weights, and for the largest tile the features before and after a convolution and the fourfold pixels."""
        from pipelines.models.compact import compact_part

        part = compact_part()
        kind = memory.number_type(part).itemsize
        return memory.weight(part) + SIDE**2 * kind * (3 * part.width + 3 * 3 * 16)

    def __call__(self, picture: Image, size: tuple[int, int], request: Sampled, memory: Memory) -> Enlarging:
        from PIL.Image import Resampling

        from pipelines.models.compact import compact_part

        part = compact_part()
        if not memory.holds(part):
            yield Stage("Loading the compact upscaler")
        restore = self.restore
        with memory.use(part) as net:
            for times in stages(picture.size, size):
                picture = yield from enlarged(net, picture, times, restore, memory)
                restore = 0.0  # what was damaged is restored by now
        return picture if picture.size == size else picture.resize(size, Resampling.LANCZOS)


def stages(size: tuple[int, int], wanted: tuple[int, int]) -> Iterator[int]:
    """How often the network doubles or quadruples a picture until it is as large as it is wanted, or larger."""
    missing = max(wanted[0] / size[0], wanted[1] / size[1])
    while missing > 1:
        times = 2 if missing <= 2 else 4
        yield times
        missing /= times


def enlarged(net: Any, picture: Image, times: int, restore: float, memory: Memory) -> Enlarging:
    """An RGB picture 2 or 4 `times` as large, the same to rounding as from all of it at once."""
    from PIL.Image import new

    from pipelines.pictures import to_pictures, to_pixels
    from pipelines.tiles import alike

    kind = next(net.parameters()).dtype
    large = new("RGB", (picture.width * times, picture.height * times))
    tiles, begun = alike(picture.size, SIDE, net.halo), time.monotonic()
    for k, tile in enumerate(tiles):
        memory.check()
        pixels = to_pixels(picture.crop(tile.outer)).to(memory.device.torch, kind)
        left, top, right, bottom = tile.kept(times)
        (part,) = to_pictures(net(pixels, times, restore)[..., top:bottom, left:right])
        large.paste(part, tile.placed(times)[:2])
        ahead = (time.monotonic() - begun) / (k + 1) * (len(tiles) - k - 1)
        yield Progress(k + 1, len(tiles), seconds_left=ahead)
    return large
