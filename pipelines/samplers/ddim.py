"""Denoising diffusion implicit models, and their stochastic limit, which k-diffusion made known as Euler ancestral."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pipelines.knobs import Eta, NoiseDownTo
from pipelines.samplers import Path, Sampler, Step, samplers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling


@samplers.register("ddim")
class Ddim(Sampler):
    """Keeps the noise it has estimated; eta mixes in fresh noise. Song et al. 2021, Equation 12 (arXiv:2010.02502).

    Fresh noise from a lowest level upwards is Karras et al. 2022's S_tmin (arXiv:2206.00364, Algorithm 2).
    """

    order = 1

    eta: Eta = 0.0
    s_tmin: NoiseDownTo = 0.0

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            eps = (x - path.alpha(sigma) * denoised) / sigma
            eta = self.eta if sigma >= self.s_tmin else 0.0
            down, up = split(sigma, sigma_next, eta, path)
            x = path.alpha(sigma_next) * denoised + down * eps
            if up > 0:
                x = x + up * path.noise(x)
        return x


@samplers.register("euler_ancestral")
class EulerAncestral(Ddim):
    """Fresh noise at every step: a sample of the reverse process, DDIM at eta 1. Equation 16 (arXiv:2010.02502)."""

    order = 0

    eta: Eta = 1.0


def split(sigma: Tensor, sigma_next: Tensor, eta: float, path: Path) -> tuple[Tensor, Tensor]:
    """The noise that is kept and the noise that is added, (down, up), with down^2 + up^2 = sigma_next^2.

    up = eta sigma_next sqrt(1 - (alpha sigma_next / (alpha_next sigma))^2), Equation 16 written in sigma.
    """
    ratio = path.alpha(sigma) * sigma_next / (path.alpha(sigma_next) * sigma)
    up = (eta * sigma_next * (1 - ratio**2).clamp(min=0).sqrt()).clamp(max=sigma_next)
    return (sigma_next**2 - up**2).sqrt(), up
