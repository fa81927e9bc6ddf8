"""How likely a model finds latents, exactly in the limit: by the flow that carries them to noise without chance.

Song et al. 2021, Section 4.3 and Appendix D.2 (arXiv:2011.13456). It speaks x0 and sigma; no network is known here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pipelines.samplers import Path

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise

NUDGE = 0.1  # of the noise level; the slope of x0 is measured over so much, which half precision still resolves


def log_likelihood(
    denoise: Denoise,
    latents: Tensor,
    sigmas: Sequence[Tensor],
    path: Path,
    probes: Sequence[Tensor],
    nudge: float = NUDGE,
) -> Tensor:
    """log p of latents (B, C, h, w) in nats, (B,), by Heun's method up `sigmas`, which rise from above 0.

    Along dy / dlog k = y - x0, with y = x / alpha and k = sigma / alpha, the density thins out by the divergence, whose
    trace Hutchinson's estimator finds: the mean of v (dx0/dy v) over `probes` v like one of the latents, each a row of
    numbers of unit variance. At the last level the density is that of noise and of latents of unit variance.
    """
    y, total, size = latents, latents.new_zeros(len(latents)), latents[0].numel()

    def slopes(y: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        alpha = path.alpha(sigma)
        step = nudge * sigma / alpha
        denoised = denoise(alpha * y, sigma)
        nudged = (denoise(alpha * (y + step * probe), sigma) - denoised for probe in probes)
        traces = [(probe * change).flatten(1).sum(1) / step for probe, change in zip(probes, nudged, strict=True)]
        return y - denoised, size - sum(traces[1:], traces[0]) / len(traces)

    for sigma, sigma_next in pairwise(sigmas):
        by = ((sigma_next / path.alpha(sigma_next)) / (sigma / path.alpha(sigma))).log()
        first, thinned = slopes(y, sigma)
        second, thinned_next = slopes(y + by * first, sigma_next)
        y = y + by * (first + second) / 2
        total = total + by * (thinned + thinned_next) / 2
    variance = (sigmas[-1] / path.alpha(sigmas[-1])) ** 2 + 1
    at_last = -0.5 * (y.flatten(1).square().sum(1) / variance + size * (2 * math.pi * variance).log())
    return at_last + total  # type: ignore[no-any-return]


def evaluations(levels: int, probes: int) -> int:
    """How many estimates of x0 that takes."""
    return 2 * (levels - 1) * (1 + probes)


def signs(like: Tensor, count: int, noise: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """`count` probes of 1 and -1, like one of the latents."""
    return [noise(like[:1]).sign() for _ in range(count)]
