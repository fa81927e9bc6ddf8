"""DPM-Solver++, third order, multistep."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pipelines.samplers import Path, Sampler, Step, samplers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling


@samplers.register("dpmpp_3m")
class Dpmpp3m(Sampler):
    """Third order at one call per step: for weak guidance or none. Lu et al. 2022, Section 4.2 (arXiv:2211.01095)."""

    order = 3

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        from pipelines.samplers.polynomials import Past, log_snrs, mixed, weights

        past, lams = Past(3), log_snrs(sigmas, path)
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            past.add(lams[i], denoised)
            if sigma_next == 0:
                return denoised
            ratio = sigma_next / sigma
            if len(past.lams) == 1:
                x = ratio * x + (path.alpha(sigma_next) - path.alpha(sigma) * ratio) * denoised
                continue
            strengths = weights(past.lams, lams[i], lams[i + 1], growth=1)
            x = ratio * x + path.alpha(sigma_next) * mixed(strengths, past.values)
        return x
