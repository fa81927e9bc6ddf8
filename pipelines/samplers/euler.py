"""Euler's method on the probability-flow ODE."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pipelines.samplers import Path, Sampler, Step, samplers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling


@samplers.register("euler")
class Euler(Sampler):
    """The plainest walk, one call per step. Karras et al. 2022, Algorithm 1 less its correction (arXiv:2206.00364)."""

    order = 1

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            d = (x - denoised) / sigma  # dx/dsigma
            x = x + d * (sigma_next - sigma)
        return x
