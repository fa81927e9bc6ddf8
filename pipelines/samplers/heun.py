"""Heun's second-order method on the probability-flow ODE, with EDM's churn."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.samplers import Path, Sampler, Step, samplers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling

Churn = Annotated[
    float, *knob("Churn", "How much noise is put back in all, spread over the steps: 0 none.", ge=0, le=100, step=1)
]
Extra = Annotated[
    float,
    *knob(
        "Churn noise",
        "Deviation of the noise that churn adds; a little above 1 keeps detail.",
        ge=0.9,
        le=1.1,
        step=0.001,
    ),
]


@samplers.register("heun")
class Heun(Sampler):
    """Two model calls per step, far fewer steps. Karras et al. 2022, Algorithms 1 and 2 (arXiv:2206.00364)."""

    title = "Heun (EDM)"
    order = 2
    calls = 2

    churn: Churn = 0.0
    churn_noise: Extra = 1.003

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            x, sigma_hat = self._churned(x, sigma, len(sigmas) - 1, path)
            denoised = denoise(x, sigma_hat)
            yield Step(i, denoised)
            d = (x - denoised) / sigma_hat  # dx/dsigma
            x_next = x + d * (sigma_next - sigma_hat)
            if sigma_next > 0:  # at 0 the slope is undefined, and Euler is exact
                d_next = (x_next - denoise(x_next, sigma_next)) / sigma_next
                x_next = x + (d + d_next) / 2 * (sigma_next - sigma_hat)
            x = x_next
        return x

    def _churned(self, x: Tensor, sigma: Tensor, steps: int, path: Path) -> tuple[Tensor, Tensor]:
        """x carried up to a higher noise level, and that level. Pure noise stays what it is."""
        gamma = min(self.churn / steps, math.sqrt(2) - 1)
        sigma_hat = sigma * (1 + gamma)
        if gamma == 0 or path.alpha(sigma_hat) <= 0:
            return x, sigma
        ratio = path.alpha(sigma_hat) / path.alpha(sigma)
        return ratio * x + (sigma_hat**2 - (ratio * sigma) ** 2).sqrt() * self.churn_noise * path.noise(x), sigma_hat
