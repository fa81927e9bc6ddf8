"""Noise levels that were searched for one checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.plans import PlanName, read
from pipelines.schedules import Levels, Schedule, schedules

if TYPE_CHECKING:
    from torch import Tensor


@schedules.register("planned")
class Planned(Schedule):
    """Levels searched for a model by `python -m pipelines.calibration`, the model's own where no plan is named.

    BOSS, Nguyen et al. 2024 (arXiv:2312.16414), and AutoDiffusion, Li et al. 2023 (arXiv:2309.10438). At another number
    of steps than the plan's, its levels are spaced in proportion in log sigma.
    """

    title = "Searched"

    plan: PlanName = ""

    def __call__(self, levels: Levels, steps: int) -> Tensor:
        import torch

        if not self.plan:
            return levels.own(steps)
        sigmas = torch.tensor(read(self.plan, "levels", "solver").sigmas, dtype=torch.float64)
        return resampled(sigmas, steps).float()


def resampled(sigmas: Tensor, steps: int) -> Tensor:
    """A grid that ends in 0 with another number of steps, (steps + 1,); the same grid at its own number."""
    import torch

    if len(sigmas) == steps + 1:
        return sigmas
    logs = sigmas[:-1].log()
    at = torch.linspace(0, len(logs) - 1, steps, dtype=torch.float64)
    low = at.floor().long().clamp(max=max(0, len(logs) - 2))
    between = logs[low].lerp(logs[(low + 1).clamp(max=len(logs) - 1)], at - low)
    return torch.cat([between.exp(), sigmas.new_zeros(1)])
