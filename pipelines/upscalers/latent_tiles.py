"""Any checkpoint paints detail into the enlarged picture, tile by tile."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Annotated

from pipelines.adapters import chosen
from pipelines.errors import BadRequest
from pipelines.events import Remark, Stage
from pipelines.knobs import knob
from pipelines.painting import checked, conditions, narrated, noise_of, predicting
from pipelines.samplers import Path, samplers
from pipelines.upscalers import Enlarging, Upscaler, upscalers

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from pipelines.memory import Memory
    from pipelines.models import ModelSpec
    from pipelines.painting import Sampled

COARSE = 4.0  # pixels of the small picture; tones coarser than this stay as they were

Creativity = Annotated[
    float,
    *knob("Creativity", "How much may be new: 0.2 sharpens, 0.6 invents.", ge=0.05, le=1, step=0.05, advanced=False),
]


@upscalers.register("latent_tiles")
class LatentTiles(Upscaler):
    """Paints detail by the prompt, on tiles that lie elsewhere at each step. Zheng et al. 2023 (arXiv:2308.16582)."""

    paints = True

    creativity: Creativity = 0.35

    def check(self, request: Sampled) -> None:
        """Raises BadRequest for a model that paints under masks only, and UnknownName."""
        painter(request)

    def __call__(self, picture: Image, size: tuple[int, int], request: Sampled, memory: Memory) -> Enlarging:
        from PIL.Image import Resampling

        from pipelines import evidence, mosaic

        spec = painter(request)
        if request.accelerators:
            yield Remark("Accelerators expect the same places at every step, which tiles are not; none was used.")
        plain = request.model_copy(update={"accelerators": ()})
        cond, uncond = yield from conditions(plain, spec, memory)
        yield Stage("Reading the picture")
        large = mosaic.filled(picture.resize(size, Resampling.LANCZOS), mosaic.STEP * spec.factor)
        latents, noise = mosaic.encoded(spec, memory, large), noise_of(request.seed or 0)
        sigmas = mosaic.levels(plain, spec, self.creativity).to(latents.device)
        rng = Random(request.seed)
        with predicting(plain, spec, memory, latents, sigmas) as (predict, look, guide):
            on_tiles = mosaic.tiled(predict, mosaic.side_of(spec), rng)

            def denoise(x: Tensor, sigma: Tensor) -> Tensor:
                return guide(on_tiles, x, sigma, cond, uncond)

            x = spec.noised(latents, noise(latents), sigmas[0])
            walk = plain.sampler.build(samplers)(denoise, x, sigmas, Path(spec.alpha, noise))
            latents = checked((yield from narrated(walk, look, len(sigmas) - 1, 1, 1)), spec)
        yield Stage("Decoding")
        painted = mosaic.decoded(spec, memory, latents).crop((0, 0, *size))
        return evidence.held(painted, picture, rounds=2, smooth=COARSE)


def painter(request: Sampled) -> ModelSpec:
    """The request's model. Raises BadRequest for one that paints under masks only, and UnknownName."""
    spec = chosen(request)
    if spec.inpaints:
        raise BadRequest(f"Model: {spec.title} paints under masks; choose one that paints whole pictures.")
    return spec
