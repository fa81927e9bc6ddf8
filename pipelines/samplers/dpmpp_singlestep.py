"""DPM-Solver++, singlestep: second and third order, with nothing remembered from one step to the next."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from pipelines.samplers import Path, Sampler, Step, samplers
from pipelines.samplers.dpmpp_sde import between

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling


@samplers.register("dpmpp_2s")
class Dpmpp2s(Sampler):
    """Second order by a second look halfway: steady under strong guidance.

    Lu et al. 2022, Algorithm 1 (arXiv:2211.01095).
    """

    order = 2
    calls = 2

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            if sigma_next == 0:
                return denoised
            middle = between(sigma, sigma_next, 0.5, path)
            at_middle = denoise(moved(x, [sigma], [denoised], middle, path), middle)
            x = moved(x, [sigma], [at_middle], sigma_next, path)  # r = 1/2: 1 - 1/(2r) = 0 of the first look is left
        return x


@samplers.register("dpmpp_3s")
class Dpmpp3s(Sampler):
    """Third order by looks at each third of a step. Lu et al. 2022, Algorithm 2 (arXiv:2206.00927), with x0 for eps."""

    order = 3
    calls = 3

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            if sigma_next == 0:
                return denoised
            first, second = (between(sigma, sigma_next, share, path) for share in (1 / 3, 2 / 3))
            at_first = denoise(moved(x, [sigma], [denoised], first, path), first)
            at_second = denoise(moved(x, [sigma, first], [denoised, at_first], second, path), second)
            x = moved(x, [sigma, second], [denoised, at_second], sigma_next, path)
        return x


def moved(x: Tensor, levels: list[Tensor], values: list[Tensor], sigma_next: Tensor, path: Path) -> Tensor:
    """x carried from levels[0] to sigma_next with x0 the polynomial in lambda through `values` at `levels`."""
    import torch

    from pipelines.samplers.polynomials import log_snrs, mixed, weights

    ratio = sigma_next / levels[0]
    *nodes, end = log_snrs(torch.stack([*levels, sigma_next]), path)
    if len(nodes) == 1 or not math.isfinite(nodes[0]):  # from pure noise on a straight path: the latest estimate alone
        return ratio * x + (path.alpha(sigma_next) - path.alpha(levels[0]) * ratio) * values[-1]
    return ratio * x + path.alpha(sigma_next) * mixed(weights(nodes, nodes[0], end, growth=1), values)
