"""Karras et al.'s noise levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.schedules import Levels, Schedule, schedules

if TYPE_CHECKING:
    from torch import Tensor

Rho = Annotated[float, *knob("Rho", "How strongly the levels crowd towards the clean end.", ge=1, le=15, step=0.5)]


@schedules.register("karras")
class Karras(Schedule):
    """Even steps in sigma^(1/rho): many fine steps near the end. Karras et al. 2022, Equation 5 (arXiv:2206.00364)."""

    rho: Rho = 7.0

    def __call__(self, levels: Levels, steps: int) -> Tensor:
        import torch

        low, high = (end ** (1 / self.rho) for end in levels.ends())
        ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
        return torch.cat([(high + ramp * (low - high)) ** self.rho, ramp.new_zeros(1)]).float()
