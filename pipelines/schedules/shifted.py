"""The model's own noise levels, moved towards noise or towards the clean end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.schedules import Levels, Schedule, schedules

if TYPE_CHECKING:
    from torch import Tensor

Shift = Annotated[
    float,
    *knob(
        "Shift", "Above 1 more steps go to the outline, for large pictures; below 1 to detail.", ge=0.2, le=12, step=0.1
    ),
]


@schedules.register("shifted")
class Shifted(Schedule):
    """Moves the model's own levels towards noise, as larger pictures of flow models want.

    Esser et al. 2024, Equation 23 (arXiv:2403.03206): t' = s t / (1 + (s - 1) t). Where x is x0 + sigma eps, t is
    sigma / (1 + sigma) as a share of its highest value, so that both ends stay.
    """

    shift: Shift = 3.0

    def __call__(self, levels: Levels, steps: int) -> Tensor:
        own = levels.own(steps)
        if levels.ends()[1] <= 1:  # a straight path, on which sigma is t
            return self.shift * own / (1 + (self.shift - 1) * own)
        times = own / (1 + own)
        highest = times[0]
        share = times / highest
        moved = highest * self.shift * share / (1 + (self.shift - 1) * share)
        return moved / (1 - moved)
