"""Score-based generative modelling by stochastic differential equations: a predictor and a corrector."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.samplers import Path, Sampler, Step, samplers
from pipelines.samplers.ddim import split

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling

Corrections = Annotated[
    int, *knob("Corrections", "How often each noise level is settled before the next one.", ge=0, le=10, step=1)
]
Ratio = Annotated[
    float,
    *knob("Shake", "How hard a correction shakes: the noise it adds, beside the slope.", ge=0.01, le=0.5, step=0.01),
]


@samplers.register("score_sde")
class ScoreSde(Sampler):
    """A step of the reverse process, then Langevin corrections.

    Song et al. 2021, Algorithms 1 and 2 (arXiv:2011.13456).
    """

    title = "Predictor and corrector"
    order = 0
    calls = 2

    corrections: Corrections = 1
    ratio: Ratio = 0.16

    def evaluations(self, steps: int) -> int:
        return steps + (steps - 1) * self.corrections

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            down, up = split(sigma, sigma_next, 1.0, path)
            eps = (x - path.alpha(sigma) * denoised) / sigma
            x = path.alpha(sigma_next) * denoised + down * eps
            if sigma_next > 0:
                x = x + up * path.noise(x)
                for _ in range(self.corrections):
                    x = self._corrected(x, denoise(x, sigma_next), sigma_next, path)
        return x

    def _corrected(self, x: Tensor, denoised: Tensor, sigma: Tensor, path: Path) -> Tensor:
        """One Langevin step of size 2 (ratio |z| / |score|)^2, norms as means over the batch."""
        score = (path.alpha(sigma) * denoised - x) / sigma**2
        noise = path.noise(x)
        size = 2 * (self.ratio * noise.flatten(1).norm(dim=1).mean() / score.flatten(1).norm(dim=1).mean()) ** 2
        return x + size * score + (2 * size).sqrt() * noise
