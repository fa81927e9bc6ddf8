"""Noise levels for five to twelve steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.schedules import Levels, Schedule, schedules

if TYPE_CHECKING:
    from torch import Tensor

BEND = 1.2  # how the training steps between both ends are spaced
FINE = 1000  # training steps that the levels are counted in


@schedules.register("few_steps")
class FewSteps(Schedule):
    """For five to ten steps of DPM++ 2M: leaves the clean end out, where a short walk gains nothing.

    Li 2025, Hyperparameters are all you need (arXiv:2510.02390): a Karras grid half as long again (rho 7; 5 and two
    longer for up to six steps) is cut at the number of steps, and training steps between both ends are spaced anew
    with rho 1.2. The paper decodes the last x with what noise it has; here the last step goes to its x0.
    """

    def __call__(self, levels: Levels, steps: int) -> Tensor:
        import torch

        points, rho = (round(1.5 * steps), 7.0) if steps > 6 else (steps + 2, 5.0)
        low, high = (end ** (1 / rho) for end in levels.ends())
        cut = (high + steps / max(1, points - 1) * (low - high)) ** rho
        table = levels.own(FINE)[:-1].double().flip(0)  # rising
        first, last = (step ** (1 / BEND) for step in (len(table) - 1.0, float(at(table, cut))))
        spaced = [(first + i / steps * (last - first)) ** BEND for i in range(steps)]
        whole = torch.tensor(spaced, dtype=torch.float64)
        below = whole.floor().long().clamp(max=len(table) - 2)
        sigmas = table[below].lerp(table[below + 1], whole - below)
        return torch.cat([sigmas, sigmas.new_zeros(1)]).float()


def at(table: Tensor, sigma: float) -> float:
    """Where in a rising table a level stands, between two entries in proportion."""
    import torch

    above = int(torch.searchsorted(table, sigma).clamp(1, len(table) - 1))
    low, high = float(table[above - 1]), float(table[above])
    return above - 1 + (sigma - low) / (high - low)
