"""What noise level to tell a network at a size it was not trained on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipelines.plans import Plan

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pipelines.calibration.subject import Subject

REACH = math.log(2.0)  # how far from the true level the search looks, in log sigma
PLACES = 7  # candidates of a round


def measured(subject: Subject, latents: Tensor, levels: int = 16, rounds: int = 3, seed: int = 0) -> Plan:
    """For each of `levels` noise levels the one to tell, so that clean latents (N, C, h, w) are found again best.

    Coarse to fine over log sigma, the same noise for every candidate. NoiseShift, He et al. 2025, Algorithm 1
    (arXiv:2510.02307); the error of one step is that of its x0, times what the step makes of it.
    """
    import torch

    source = torch.Generator().manual_seed(seed)
    sigmas = subject.fine(levels)[:-1]
    told = [sought(subject, latents, sigma, rounds, source) for sigma in sigmas]
    tables = {"sigma": sigmas[:, None].tolist(), "told": [[each] for each in told]}
    return Plan(kind="noise_shift", method="noise_shift", tables=tables)


def sought(subject: Subject, latents: Tensor, sigma: Tensor, rounds: int, source: torch.Generator) -> float:
    """The level to tell at one noise level."""
    import torch

    from pipelines.accelerators.noise_shift import retold

    noise = torch.randn(latents.shape, generator=source, dtype=latents.dtype).to(latents)
    x = subject.path.alpha(sigma) * latents + sigma * noise

    def error(shift: float) -> float:
        told = sigma * math.exp(shift)
        (denoised,) = retold(lambda seen, level: [subject.denoise(seen, level)], x, sigma, told, subject.path.alpha)
        return float((denoised - latents).square().mean())

    centre, reach = 0.0, REACH
    for _ in range(rounds):
        shifts = [centre + reach * (2 * k / (PLACES - 1) - 1) for k in range(PLACES)]
        centre = min(shifts, key=lambda shift: (error(shift), abs(shift)))
        reach /= (PLACES - 1) / 2
    return float(sigma) * math.exp(centre)
