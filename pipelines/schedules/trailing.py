"""Even steps in training time that begin at the noisiest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.schedules import Levels, Schedule, schedules

if TYPE_CHECKING:
    from torch import Tensor

TRAINED = 1000  # levels that networks are trained on; own(TRAINED) names them all, to within one


@schedules.register("trailing")
class Trailing(Schedule):
    """Even steps that begin at pure noise, as few-step models ask for. Lin et al. 2024, Table 2 (arXiv:2305.08891)."""

    def __call__(self, levels: Levels, steps: int) -> Tensor:
        import torch

        every = levels.own(TRAINED)  # (TRAINED + 1,), ends in 0
        at = [k * TRAINED // steps for k in range(steps)]
        return torch.cat([every[at], every[-1:]])
