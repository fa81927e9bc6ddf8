"""CFG++: guidance that stays among the pictures."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pipelines.guidance import Guidance, guidances
from pipelines.knobs import knob
from pipelines.types import exploding

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor

    from pipelines.types import Cond, Guide, Predict, Run

Pull = Annotated[
    float,
    *knob(
        "Pull", "How far each step goes from the negative prompt to the prompt: 1 all the way.", ge=0, le=1, step=0.05
    ),
]


@guidances.register("cfgpp")
class CfgPlusPlus(Guidance):
    """Goes part of the way to the prompt and keeps the negative prompt's noise: no burnt colours.

    Chung et al. 2024, Algorithm 2 (arXiv:2406.08070). x' = a' x0_pulled + s'/s (x - a x0_negative) is the plain step to
    one other x0, [a' x0_pulled - a s'/s x0_negative] / (a' - a s'/s), which is what comes of this. It is exact for
    samplers of first order, Euler and DDIM; others take it as their estimate. The last step goes to x0_pulled.
    """

    title = "CFG++"
    off = None

    pull: Pull = 0.6

    @property
    def evaluations(self) -> int:
        return 2

    def __call__(self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
        negative, positive = predict(x, sigma, [uncond, cond])
        return negative.lerp(positive, self.pull)

    def apply(self, run: Run) -> AbstractContextManager[Guide]:
        from contextlib import nullcontext

        return nullcontext(partial(self._guided, run))

    def _guided(self, run: Run, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
        alpha = run.spec.alpha if run.spec else exploding
        sigma_next = run.sigmas[run.step(sigma) + 1]
        ratio = alpha(sigma) * sigma_next / (alpha(sigma_next) * sigma)
        negative, positive = predict(x, sigma, [uncond, cond])
        return negative + self.pull / (1 - ratio) * (positive - negative)
