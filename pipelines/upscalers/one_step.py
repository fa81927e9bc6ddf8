"""The built-in model restores the enlarged picture in one evaluation a tile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from pipelines.events import Progress, Stage
from pipelines.knobs import knob
from pipelines.models import models
from pipelines.painting import bytes_of, encoded
from pipelines.upscalers import WEIGHTS, Enlarging, Upscaler, shipped
from pipelines.upscalers.compact import Compact, Restore
from pipelines.upscalers.latent_tiles import COARSE

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.memory import Memory
    from pipelines.painting import Sampled
    from pipelines.tiles import Tile

BASE = "pocket"
FILE = WEIGHTS / "one_step.safetensors"
SIDE = 32  # latents of a tile
BORDER = 2  # latents around it that are read besides, and over which it fades in

Creativity = Annotated[
    float,
    *knob(
        "Creativity",
        "0 is the compact network alone, 1 adds all that the painter sees in the picture.",
        ge=0,
        le=1,
        step=0.05,
        advanced=False,
    ),
]


@shipped("one_step", FILE.name)
class OneStep(Upscaler):
    """Sharpened by a single evaluation of the built-in model. Wu et al. 2024, "OSEDiff" (arXiv:2406.08177)."""

    creativity: Creativity = 1.0
    restore: Restore = 0.0

    def __call__(self, picture: Image, size: tuple[int, int], request: Sampled, memory: Memory) -> Enlarging:
        from pipelines import evidence, mosaic
        from pipelines.models.one_step import one_step_part, restored
        from pipelines.pictures import to_pictures, to_pixels
        from pipelines.tiles import overlapping

        large = yield from quietly(Compact(restore=self.restore)(picture, size, request, memory))
        spec = models[BASE]
        yield Stage("Reading the picture")
        cond, factor, begun = encoded(spec, memory, ""), spec.factor, time.monotonic()
        large = mosaic.filled(large, mosaic.STEP * factor)
        tiles = overlapping((large.width // factor, large.height // factor), SIDE, BORDER)
        plain = mosaic.unpainted(large, tiles, factor)
        with memory.use(one_step_part(FILE, spec)) as ours:
            predict = spec.predictor(ours.net)

            def sharpened(tile: Tile) -> Image:
                memory.check()
                pixels = to_pixels(plain(tile)).to(memory.device.torch)
                seen, _ = restored(ours.ends, predict, pixels, cond, self.restore)
                right, bottom = (edge * factor for edge in tile.kept()[2:])
                return to_pictures(pixels.lerp(seen, self.creativity)[..., :bottom, :right])[0]

            drawing = mosaic.joined(tiles, factor, large.size, sharpened, large)
            while True:
                try:
                    done = next(drawing)
                except StopIteration:
                    break
                left = (time.monotonic() - begun) / done * (len(tiles) - done)
                yield Progress(done, len(tiles), seconds_left=left)
        if large.size != size:
            large = large.crop((0, 0, *size))
        if self.restore:
            return large
        return evidence.held(large, picture, rounds=2, smooth=COARSE * self.creativity, spare=True)

    def beside(self, memory: Memory) -> int:
        """The built-in model and the maps of one tile, and the compact network that goes before."""
        spec = models[BASE]
        side = (SIDE + 2 * BORDER) * spec.factor
        return bytes_of(spec, memory, side, side) + Compact().beside(memory)


def quietly(running: Enlarging) -> Enlarging:
    """The same without its progress, which is the lesser part of the work."""
    while True:
        try:
            event = next(running)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if not isinstance(event, Progress):
            yield event
