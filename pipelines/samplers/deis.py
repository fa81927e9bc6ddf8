"""Diffusion exponential integrator sampler."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.samplers import Path, Sampler, Step, samplers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling

Remembered = Annotated[
    int,
    *knob("Memory", "How many of its latest estimates each step weighs: fewer is steadier.", ge=1, le=4, step=1),
]


@samplers.register("deis")
class Deis(Sampler):
    """Extends the estimated noise as a curve: sharp in 10 to 20 steps. Zhang & Chen 2023, tAB-DEIS (arXiv:2204.13902).

    The polynomial is in lambda, the log rho of the paper. x' = alpha'/alpha x - sigma' int e^{lambda' - lambda}
    eps dlambda, written as DDIM's step less what the older estimates say otherwise, so that alpha may be 0.
    """

    title = "DEIS"
    order = 3

    memory: Remembered = 3

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        from pipelines.samplers.polynomials import Past, log_snrs, mixed, weights

        past, lams = Past(self.memory), log_snrs(sigmas, path)
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            if sigma_next == 0:
                return denoised
            eps = (x - path.alpha(sigma) * denoised) / sigma
            past.add(lams[i], eps)
            x = path.alpha(sigma_next) * denoised + sigma_next * eps
            if len(past.lams) > 1:
                strengths = weights(past.lams, lams[i], lams[i + 1], growth=-1)[1:]
                x = x - sigma_next * mixed(strengths, [older - eps for older in past.values[1:]])
        return x
