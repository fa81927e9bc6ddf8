"""T-Stitch: a small model begins, a large one finishes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from pipelines.accelerators import Accelerator, accelerators
from pipelines.guidance.auto import second
from pipelines.knobs import knob
from pipelines.types import tallied

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict, Run

Share = Annotated[
    float, *knob("Share", "The share of the steps that the small model takes, from the start.", ge=0, le=1, step=0.05)
]
Small = Annotated[
    str,
    *knob(
        "Small model",
        "The name of a faster model that paints the same latents; empty for none.",
        "text",
        max_length=200,
    ),
]


@accelerators.register("stitching")
class Stitching(Accelerator):
    """A small model of the same kind takes the first steps, where only the outline is decided.

    Pan et al. 2024, Section 3 (arXiv:2402.14167).
    """

    title = "T-Stitch"
    off = {"share": 0.0}

    share: Share = 0.4
    small: Small = ""

    @contextmanager
    def apply(self, predict: Predict, run: Run) -> Iterator[Predict]:
        if self.share == 0 or not self.small:
            yield predict
            return
        spec = second(self.small, run.spec, "T-Stitch")
        until = round(self.share * (len(run.sigmas) - 1))
        with run.memory.use(spec.net) as net:
            quick = tallied(spec.predictor(net), run.memory)

            def stitched(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
                return (quick if run.step(sigma) < until else predict)(x, sigma, conds)

            yield stitched
