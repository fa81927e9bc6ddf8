"""The ancestral sampler of denoising diffusion probabilistic models."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.knobs import knob
from pipelines.samplers import Path, Sampler, Step, samplers
from pipelines.samplers.ddim import split

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling

Spread = Annotated[
    Literal["small", "large"],
    *knob("Spread", "How much fresh noise a step adds: small suits few steps, large is livelier and wants many."),
]


@samplers.register("ddpm")
class Ddpm(Sampler):
    """The first diffusion walk: slow, lively, hundreds of steps. Ho et al. 2020, Algorithm 2 (arXiv:2006.11239).

    The noise of a step has the variance of the posterior, or that of the forward step, Section 3.2.
    """

    order = 0

    spread: Spread = "small"

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            down, up = split(sigma, sigma_next, 1.0, path)
            eps = (x - path.alpha(sigma) * denoised) / sigma
            x = path.alpha(sigma_next) * denoised + down * eps
            if sigma_next > 0:
                x = x + (up if self.spread == "small" else forward(sigma, sigma_next, path)) * path.noise(x)
        return x


def forward(sigma: Tensor, sigma_next: Tensor, path: Path) -> Tensor:
    """The deviation of the forward step, sqrt(1 - abar/abar') of the variance-preserving process, in this path's units.

    alpha = 0 would ask for infinitely much; the level is then taken for a thousandfold of the next.
    """
    alpha, alpha_next = path.alpha(sigma), path.alpha(sigma_next)
    k_next = (sigma_next / alpha_next) ** 2
    k = (sigma / alpha) ** 2 if alpha > 0 else 1e6 * (1 + k_next)
    return alpha_next * ((1 + k_next) * (k - k_next) / (1 + k)).sqrt()
