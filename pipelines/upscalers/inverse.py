"""The small picture is kept as evidence; the model says what it leaves open."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Annotated

from pipelines.events import Remark, Stage
from pipelines.knobs import knob
from pipelines.painting import checked, conditions, narrated, noise_of, predicting
from pipelines.types import Path, Step
from pipelines.upscalers import Enlarging, Upscaler, upscalers
from pipelines.upscalers.latent_tiles import Creativity, painter

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from pipelines.memory import Memory
    from pipelines.painting import Sampled
    from pipelines.types import Denoise, Sampling

RATE = 0.05  # Adam's, in latents of unit size, falling to none over the steps
BETAS = 0.9, 0.99

Weight = Annotated[
    float,
    *knob("Weight of the model", "How much the model has a say beside the picture.", ge=0, le=2, step=0.05),
]


@upscalers.register("inverse")
class Inverse(Upscaler):
    """Keeps to the small picture: shrunk, the result is that again. Mardani et al. 2023 (arXiv:2305.04391)."""

    paints = True

    creativity: Creativity = 0.4
    weight: Weight = 0.25

    def __call__(self, picture: Image, size: tuple[int, int], request: Sampled, memory: Memory) -> Enlarging:
        from PIL.Image import Resampling

        from pipelines import evidence, mosaic

        spec, plain = painter(request), request.model_copy(update={"accelerators": ()})
        cond, uncond = yield from conditions(plain, spec, memory)
        yield Stage("Reading the picture")
        edge = mosaic.STEP * spec.factor
        large = mosaic.filled(picture.resize(size, Resampling.LANCZOS), edge)
        latents = mosaic.encoded(spec, memory, large)
        sigmas = mosaic.levels(plain, spec, self.creativity).to(latents.device)
        rng = Random(request.seed)

        def missing(mu: Tensor) -> Tensor:
            """What the evidence adds to mu, through the autoencoder and not its gradient: memory as for painting."""
            now = mosaic.decoded(spec, memory, mu).crop((0, 0, *size))
            kept = evidence.held(now, picture, rounds=1, refined=2)
            after, before = (mosaic.encoded(spec, memory, mosaic.filled(each, edge)) for each in (kept, now))
            return after - before

        with predicting(plain, spec, memory, latents, sigmas) as (predict, look, guide):
            on_tiles = mosaic.tiled(predict, mosaic.side_of(spec), rng)

            def denoise(x: Tensor, sigma: Tensor) -> Tensor:
                return guide(on_tiles, x, sigma, cond, uncond)

            walk = descended(
                denoise, missing, latents, sigmas, Path(spec.alpha, noise_of(request.seed or 0)), self.weight
            )
            latents = checked((yield from narrated(walk, look, len(sigmas) - 1, 1, 1)), spec)
        yield Stage("Decoding")
        result = evidence.held(mosaic.decoded(spec, memory, latents).crop((0, 0, *size)), picture)
        yield Remark(f"Shrunk again, it differs from the picture by {evidence.residual(result, picture):.5f} of 1.")
        return result


def descended(
    denoise: Denoise, missing: Callable[[Tensor], Tensor], mu: Tensor, sigmas: Tensor, path: Path, weight: float
) -> Sampling:
    """mu (1, C, h, w) that explains the evidence and that the model believes in, by Adam, the noise falling once.

    `missing(mu)` is the negative gradient of the evidence's half squared error. With x0 = (x - sigma eps_hat) / alpha,
    the gradient of the regulariser, weight (sigma / alpha) (eps_hat - eps), is weight (mu - x0). Mardani et al. 2023,
    Algorithm 1 (arXiv:2305.04391).
    """
    first, second, (beta1, beta2) = mu * 0, mu * 0, BETAS
    steps = len(sigmas) - 1
    for i, sigma in enumerate(sigmas[:-1]):
        x = path.alpha(sigma) * mu + sigma * path.noise(mu)
        gradient = weight * (mu - denoise(x, sigma)) - missing(mu)
        first, second = first.lerp(gradient, 1 - beta1), second.lerp(gradient.square(), 1 - beta2)
        mean, spread = first / (1 - beta1 ** (i + 1)), (second / (1 - beta2 ** (i + 1))).sqrt()
        mu = mu - RATE * (1 - i / steps) * mean / (spread + 1e-8)
        yield Step(i, mu)
    return mu
