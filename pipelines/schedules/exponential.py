"""Noise levels at equal ratios."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipelines.schedules import Levels, Schedule, schedules

if TYPE_CHECKING:
    from torch import Tensor


@schedules.register("exponential")
class Exponential(Schedule):
    """Even steps in log sigma. Lu et al. 2022, Section 5, uniform log-SNR (arXiv:2206.00927)."""

    def __call__(self, levels: Levels, steps: int) -> Tensor:
        import torch

        low, high = (math.log(end) for end in levels.ends())
        ramp = torch.linspace(high, low, steps, dtype=torch.float64).exp()
        return torch.cat([ramp, ramp.new_zeros(1)]).float()
