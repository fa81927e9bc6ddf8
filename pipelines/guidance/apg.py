"""Adaptive projected guidance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from pipelines.guidance import guidances
from pipelines.guidance.cfg import Push, norm
from pipelines.knobs import Scale, knob

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Guide, Predict, Run

Saturation = Annotated[
    float,
    *knob(
        "Saturation", "How much of the push may raise contrast and colour: 1 is plain guidance.", ge=0, le=1, step=0.05
    ),
]
Momentum = Annotated[
    float,
    *knob(
        "Momentum",
        "What the push takes over from the step before; below 0 it looks for news.",
        ge=-0.95,
        le=0.5,
        step=0.05,
    ),
]
Limit = Annotated[
    float, *knob("Limit", "The longest push, as a norm of the latents: 0 is no limit.", ge=0, le=100, step=0.5)
]


@guidances.register("apg")
class Projected(Push):
    """Strong guidance without burnt colours: the push that only adds contrast is left out.

    Sadat et al. 2024, Algorithm 1 (arXiv:2410.02416): the push is split into its part along the conditional estimate,
    which saturates, and the part across, which improves. As a plain function it has no momentum.
    """

    title = "APG"

    scale: Scale = 7.5
    saturation: Saturation = 0.0
    momentum: Momentum = -0.5
    limit: Limit = 15.0

    def __call__(self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
        if self.scale == 1:
            return predict(x, sigma, [cond])[0]
        negative, positive = predict(x, sigma, [uncond, cond])
        return positive + (self.scale - 1) * self._projected(positive - negative, positive)

    @contextmanager
    def apply(self, run: Run) -> Iterator[Guide]:
        before: dict[str, Tensor] = {}

        def guide(predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
            if self.scale == 1:
                return predict(x, sigma, [cond])[0]
            negative, positive = predict(x, sigma, [uncond, cond])
            push = positive - negative
            before["push"] = push + self.momentum * before["push"] if before else push
            return positive + (self.scale - 1) * self._projected(before["push"], positive)

        yield guide

    def _projected(self, push: Tensor, positive: Tensor) -> Tensor:
        """The push within its limit, with as much of its part along `positive` as `saturation` lets through."""
        own = [1, 2, 3]
        if self.limit > 0:
            push = push * (self.limit / norm(push).clamp(min=1e-12)).clamp(max=1)
        along = positive / norm(positive).clamp(min=1e-12)
        parallel = (push * along).sum(own, keepdim=True) * along
        return push - parallel + self.saturation * parallel
