"""DPM-Solver++, second order, multistep."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pipelines.samplers import Path, Sampler, Step, samplers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling


@samplers.register("dpmpp_2m")
class Dpmpp2m(Sampler):
    """Second order at one call per step, by memory. Lu et al. 2022, Algorithm 2 (arXiv:2211.01095)."""

    order = 2

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        last: Tensor | None = None
        h_last = sigmas[0]
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            if sigma_next == 0:  # the step to 0 is infinitely long in lambda, and first order is exact
                return denoised
            h = path.log_snr(sigma_next) - path.log_snr(sigma)
            leaning = denoised
            if last is not None:
                r = h_last / h
                leaning = (1 + 1 / (2 * r)) * denoised - 1 / (2 * r) * last
            x = sigma_next / sigma * x - path.alpha(sigma_next) * (-h).expm1() * leaning
            last, h_last = denoised, h
        return x
