"""Guidance in the middle of the walk only, and less often there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from pipelines.guidance import guidances
from pipelines.guidance.cfg import Push
from pipelines.knobs import knob

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Guide, Predict, Run

Begin = Annotated[
    float,
    *knob("From", "Share of the steps that pass before guidance sets in: later varies more.", ge=0, le=1, step=0.05),
]
End = Annotated[
    float,
    *knob("To", "Share of the steps after which the prompt alone paints on: sooner is faster.", ge=0, le=1, step=0.05),
]
Stride = Annotated[
    int,
    *knob(
        "Every", "Looks at the negative prompt every so many steps, and repeats its push between.", ge=1, le=10, step=1
    ),
]


@guidances.register("interval")
class Interval(Push):
    """Guides a stretch of the steps only: truer colours, and less to compute.

    Kynkäänniemi et al. 2024, Equation 6, in shares of the steps (arXiv:2404.07724); with `every` as the cheap guidance
    of Shrestha & Xie 2023 (arXiv:2312.13253) has it, which gives no formulas. As a plain function it guides always.
    """

    begin: Begin = 0.1
    end: End = 0.8
    every: Stride = 1

    def asked(self, prompt: str) -> float:
        return 1 if self.scale == 1 else 1 + max(0.0, self.end - self.begin) / self.every

    @contextmanager
    def apply(self, run: Run) -> Iterator[Guide]:
        steps = len(run.sigmas) - 1
        first, last = round(self.begin * steps), round(self.end * steps)
        push: dict[str, Tensor] = {}  # the latest difference between prompt and negative prompt

        def guide(predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
            step = run.step(sigma)
            if self.scale == 1 or not first <= step < last:
                return predict(x, sigma, [cond])[0]
            if push and (step - first) % self.every:
                return predict(x, sigma, [cond])[0] + (self.scale - 1) * push["latest"]
            negative, positive = predict(x, sigma, [uncond, cond])
            push["latest"] = positive - negative
            return negative.lerp(positive, self.scale)

        yield guide
