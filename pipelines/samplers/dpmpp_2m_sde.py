"""DPM-Solver++, multistep, on the reverse SDE: second and third order."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from pipelines.knobs import Eta
from pipelines.samplers import Path, Sampler, Step, samplers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling


@samplers.register("dpmpp_2m_sde")
class Dpmpp2mSde(Sampler):
    """Fresh noise at every step and one call, with a memory of two. Lu et al. 2022, Section 5 (arXiv:2211.01095).

    The mean of the SDE's exact solution with x0 a polynomial in lambda, k = 1 + eta^2, h the step in lambda:
    x' = sigma'/sigma e^{-eta^2 h} x + k alpha' int e^{k (lambda - lambda')} x0 dlambda
         + sigma' sqrt(1 - e^{-2 eta^2 h}) z
    """

    order = 0
    memory: ClassVar[int] = 2

    eta: Eta = 1.0

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        from pipelines.samplers.polynomials import Past, log_snrs

        past, lams, lost = Past(self.memory), log_snrs(sigmas, path), self.eta**2
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            if sigma_next == 0:
                return denoised
            past.add(lams[i], denoised)
            h = lams[i + 1] - lams[i]
            leaning = self._leaning(past.lams, past.values, lams[i], lams[i + 1])
            kept = math.exp(-lost * h) if lost else 1.0
            x = sigma_next / sigma * kept * x + path.alpha(sigma_next) * leaning
            if lost:
                x = x + sigma_next * math.sqrt(-math.expm1(-2 * lost * h)) * path.noise(x)
        return x

    def _leaning(self, nodes: list[float], values: list[Tensor], start: float, end: float) -> Tensor:
        """What x0 adds over one step, per alpha'. Of second order the midpoint form is used, as the authors do."""
        from pipelines.samplers.polynomials import mixed, weights

        growth = 1 + self.eta**2
        gained = -math.expm1(-growth * (end - start))
        if len(nodes) == 1:
            return gained * values[0]
        if len(nodes) == 2:
            r = (start - nodes[1]) / (end - start)
            return mixed([gained * (1 + 0.5 / r), -gained * 0.5 / r], values)
        return growth * mixed(weights(nodes, start, end, growth), values)


@samplers.register("dpmpp_3m_sde")
class Dpmpp3mSde(Dpmpp2mSde):
    """Fresh noise at every step and one call, with a memory of three. Lu et al. 2022, Section 5 (arXiv:2211.01095)."""

    memory = 3
