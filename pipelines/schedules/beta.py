"""Training times by the quantiles of a beta distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.schedules import Levels, Schedule, schedules
from pipelines.schedules.trailing import TRAINED

if TYPE_CHECKING:
    from torch import Tensor

Alpha = Annotated[
    float, *knob("Alpha", "How many levels lie at the clean end: the smaller, the more.", ge=0.1, le=5, step=0.05)
]
Beta = Annotated[
    float, *knob("Beta", "How many levels lie at the noisy end: the smaller, the more.", ge=0.1, le=5, step=0.05)
]


@schedules.register("beta")
class BetaQuantiles(Schedule):
    """Crowds the levels at both ends, where pictures change most. Lee et al. 2024 (arXiv:2407.12173).

    Training times, as shares of the longest, are the quantiles of Beta(alpha, beta) at even probabilities from 1 down.
    """

    alpha: Alpha = 0.6
    beta: Beta = 0.6

    def __call__(self, levels: Levels, steps: int) -> Tensor:
        import torch
        from scipy.stats import beta

        every = levels.own(TRAINED).double()  # (TRAINED + 1,), ends in 0
        even = 1 - torch.arange(steps, dtype=torch.float64) / steps
        times = torch.from_numpy(beta.ppf(even.numpy(), self.alpha, self.beta)) * (TRAINED - 1)
        low = times.floor().long().clamp(max=TRAINED - 2)
        rising = every[:TRAINED].flip(0).log()  # from the cleanest level to the noisiest
        sigmas = rising[low].lerp(rising[low + 1], times - low).exp()
        return torch.cat([sigmas, sigmas.new_zeros(1)]).float()
