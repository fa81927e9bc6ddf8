"""Generalised heavy-ball momentum."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.samplers import Path, Sampler, Step, samplers
from pipelines.samplers.plms import noise_in, transferred

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling

Sharpness = Annotated[
    float,
    *knob(
        "Sharpness",
        "How boldly it extends what it saw: 1 is Euler, 2 to 3 holds under strong guidance, 4 is PLMS.",
        ge=1,
        le=4,
        step=0.1,
    ),
]


@samplers.register("ghvb")
class Ghvb(Sampler):
    """Momentum that keeps few steps at strong guidance from bursting.

    Wizadwongsa et al. 2024, Algorithm 2 (arXiv:2307.11118).

    Of order r - 1 + beta on even levels; on others its fixed weights are second order, as those of PLMS.
    """

    title = "GHVB momentum"
    order = 2

    sharpness: Sharpness = 2.5

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        from pipelines.samplers.polynomials import mixed

        r = math.ceil(self.sharpness)
        beta = self.sharpness - r + 1
        past: list[Tensor] = []  # of velocities, newest first
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            eps = noise_in(x, denoised, sigma, path)
            velocity = past[0].lerp(eps, beta) if past else eps
            past = [velocity, *past][:r]
            x = transferred(x, denoised, eps, mixed(momentum_weights(len(past), beta), past), sigma, sigma_next, path)
        return x


@cache
def momentum_weights(r: int, beta: float) -> list[float]:
    """The weights of the last r velocities, Table 1: P(L) v equals the mean slope of a step up to order r.

    With L = e^{-D} the step back, v = beta / (1 - (1 - beta) L) f and the mean over a step is (e^D - 1)/D f, so P must
    agree with (e^D - 1)/D (1 - (1 - beta) L)/beta in its first r powers of D.
    """
    import numpy as np

    facts = [math.factorial(k) for k in range(r + 1)]
    mean = [1 / facts[k + 1] for k in range(r)]
    lag = [float(k == 0) - (1 - beta) * (-1) ** k / facts[k] for k in range(r)]
    wanted = [sum(mean[i] * lag[k - i] for i in range(k + 1)) / beta for k in range(r)]
    powers = [[(-j) ** k / facts[k] for j in range(r)] for k in range(r)]
    return [float(each) for each in np.linalg.solve(np.array(powers), np.array(wanted))]
