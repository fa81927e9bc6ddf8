"""Multistep sampling of consistency models."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pipelines.samplers import Path, Sampler, Step, samplers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling


@samplers.register("lcm")
class Lcm(Sampler):
    """For distilled models: jump to the end, noise again, jump. Luo et al. 2023, Algorithm 3 (arXiv:2310.04378)."""

    order = 0
    jumps = True

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            x = denoised
            if sigma_next > 0:
                x = path.alpha(sigma_next) * denoised + sigma_next * path.noise(x)
        return x
