"""The model's own noise levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.schedules import Levels, Schedule, schedules

if TYPE_CHECKING:
    from torch import Tensor


@schedules.register("own")
class Own(Schedule):
    """The levels that the checkpoint's own settings name."""

    def __call__(self, levels: Levels, steps: int) -> Tensor:
        return levels.own(steps)
