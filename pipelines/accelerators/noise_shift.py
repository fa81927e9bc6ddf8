"""NoiseShift: what noise level a network is told, at sizes it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from pipelines.accelerators import Accelerator, accelerators
from pipelines.knobs import knob
from pipelines.plans import PlanName, read
from pipelines.types import exploding

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict, Run

Force = Annotated[
    float,
    *knob(
        "Force", "How far the told noise level goes to the measured one: 0 not, 1 all the way.", ge=0, le=1, step=0.05
    ),
]


@accelerators.register("noise_shift")
class NoiseShift(Accelerator):
    """For pictures smaller than the model is used to: it is told how much noise such a one shows.

    He et al. 2025, Section 4 (arXiv:2510.02307): smaller pictures look noisier at the same sigma. A plan, made for one
    size by `python -m pipelines.calibration noise_shift --side 128`, says what to tell; the sampler keeps its levels.
    Costs nothing; without a plan nothing is changed.
    """

    title = "NoiseShift"
    off = {"force": 0.0}

    force: Force = 1.0
    plan: PlanName = ""

    @contextmanager
    def apply(self, predict: Predict, run: Run) -> Iterator[Predict]:
        if self.force == 0 or not self.plan:
            yield predict
            return
        tables = read(self.plan, "noise_shift").tables
        levels, told = ([row[0] for row in tables[name]] for name in ("sigma", "told"))
        alpha = run.spec.alpha if run.spec else exploding

        def shifted(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
            moved = sigma * factor(float(sigma), levels, told) ** self.force
            return retold(lambda seen, level: predict(seen, level, conds), x, sigma, moved, alpha)

        yield shifted


def factor(sigma: float, levels: Sequence[float], told: Sequence[float]) -> float:
    """By how much to multiply a level, between two measured ones in proportion in log sigma; levels fall."""
    above = next((i for i, level in enumerate(levels) if level <= sigma), len(levels) - 1)
    one, other = max(0, above - 1), above
    gains = [math.log(told[i] / levels[i]) for i in (one, other)]
    span = math.log(levels[one] / levels[other]) or 1.0
    share = min(1.0, max(0.0, math.log(levels[one] / sigma) / span))
    return math.exp(gains[0] + share * (gains[1] - gains[0]))


def retold(
    ask: Callable[[Tensor, Tensor], list[Tensor]],
    x: Tensor,
    sigma: Tensor,
    told: Tensor,
    alpha: Callable[[Tensor], Tensor],
) -> list[Tensor]:
    """x0 at sigma by a network that sees the same x and is told another level.

    Networks on exploding paths see x / sqrt(sigma^2 + 1), so that x is scaled to be the same to their eyes; the noise
    they find is then taken for the noise at sigma. On straight paths it is the velocity that is taken over.
    """
    if float(alpha(sigma)) == 1:
        seen = x * ((told**2 + 1) / (sigma**2 + 1)).sqrt()
        return [x - sigma * (seen - denoised) / told for denoised in ask(seen, told)]
    told = told.clamp(max=1.0)
    return [x - sigma * (x - denoised) / told for denoised in ask(x, told)]
