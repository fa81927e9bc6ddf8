"""A checkpoint that was published for enlarging does it, in its own pipeline, tile by tile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pipelines.adapters import chosen
from pipelines.errors import BadRequest
from pipelines.events import Progress, Stage
from pipelines.knobs import knob
from pipelines.upscalers import Enlarging, Upscaler, upscalers

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.memory import Memory
    from pipelines.models import ModelSpec
    from pipelines.painting import Sampled
    from pipelines.tiles import Tile

BORDER = 8  # pixels of the small picture around a tile that are read besides, and over which it fades in
EDGE = 64  # sides that all of them read are multiples of this
SCALE = 7.5  # of guidance, where the request's has none

NoiseLevel = Annotated[
    int,
    *knob("Noise level", "How far the x4 upscaler may leave the picture: 0 not at all.", ge=0, le=350, step=5),
]


@upscalers.register("released")
class Released(Upscaler):
    """Lets the model enlarge by itself, where it is one that was published for that. Rombach et al. 2021
    (arXiv:2112.10752)."""

    paints = True
    title = "The model's own"

    noise_level: NoiseLevel = 20

    def check(self, request: Sampled) -> None:
        """Raises BadRequest for a model that paints, and UnknownName."""
        enlarger(request)

    def __call__(self, picture: Image, size: tuple[int, int], request: Sampled, memory: Memory) -> Enlarging:
        from PIL.Image import Resampling

        spec = enlarger(request)
        if not memory.holds(spec.net):
            yield Stage(f"Loading {spec.title}")
        with memory.use(spec.net) as enlarge:
            while picture.width < size[0] or picture.height < size[1]:
                picture = yield from self._enlarged(enlarge, picture, spec, request, memory)
        return picture if picture.size == size else picture.resize(size, Resampling.LANCZOS)

    def _enlarged(self, enlarge: Any, picture: Image, spec: ModelSpec, request: Sampled, memory: Memory) -> Enlarging:
        """An RGB picture as often as large as the model makes it."""
        from pipelines.mosaic import filled, joined
        from pipelines.pictures import to_pictures
        from pipelines.tiles import overlapping

        words = request.said()
        scale = float(request.guidance.knobs.get("scale", SCALE))
        times, tiles = spec.enlarges, overlapping(picture.size, spec.side - 2 * BORDER, BORDER)

        def part(tile: Tile) -> Image:
            memory.check()
            seen = filled(picture.crop(tile.outer), EDGE)
            pixels = enlarge(seen, *words, request.steps, scale, self.noise_level, request.seed or 0)
            right, down = tile.kept(times)[2:]
            return to_pictures(pixels[..., :down, :right])[0]

        drawing = joined(tiles, times, (picture.width * times, picture.height * times), part)
        while True:
            try:
                yield Progress(next(drawing), len(tiles))
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]


def enlarger(request: Sampled) -> ModelSpec:
    """The request's model. Raises BadRequest for one that paints, and UnknownName."""
    spec = chosen(request)
    if not spec.enlarges:
        raise BadRequest(
            f"Model: {spec.title} paints; choose one that was published for enlarging, such as "
            "stable-diffusion-x4-upscaler, or another method."
        )
    return spec
