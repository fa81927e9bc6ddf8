"""Feature inheritance: the inner blocks of a UNet answer as they did a step ago."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.accelerators import Accelerator, accelerators
from pipelines.accelerators.patches import Answers, asked_by, remembering, unet_of
from pipelines.knobs import knob

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict, Run

Every = Annotated[
    int, *knob("Every", "The inner blocks are computed every so many steps: 1 always.", ge=1, le=10, step=1)
]
Depth = Annotated[
    int,
    *knob(
        "Depth", "How many levels are inherited, from the innermost: more is faster and coarser.", ge=1, le=4, step=1
    ),
]
Spacing = Annotated[
    Literal["even", "early", "late"],
    *knob("Computed", "Whether the computed steps lie evenly, or more of them early or late."),
]


@accelerators.register("inheritance")
class Inheritance(Accelerator):
    """The inner blocks answer as they did some steps ago, where pictures change slowly.

    A-SDM, Yan et al. 2024, Section 3.3, without its distilled parts (arXiv:2406.00210).
    """

    title = "Feature inheritance"
    off = {"every": 1}

    every: Every = 2
    depth: Depth = 1
    spacing: Spacing = "even"

    @contextmanager
    def apply(self, predict: Predict, run: Run) -> Iterator[Predict]:
        if self.every == 1:
            yield predict
            return
        net, memory = unet_of(run, "Feature inheritance"), Answers()
        depth = min(self.depth, len(net.down_blocks) - 1)
        inner = [*net.down_blocks[-depth:], net.mid_block, *net.up_blocks[:depth]]
        keys = computed_steps(len(run.sigmas) - 1, self.every, self.spacing)

        def inheriting(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
            memory.ask(asked_by(conds), reuse=run.step(sigma) not in keys)
            return predict(x, sigma, conds)

        with remembering(inner, memory):
            yield inheriting


def computed_steps(steps: int, every: int, spacing: str) -> set[int]:
    """Which steps are computed in full: about one of `every`, the first among them."""
    count = max(1, -(-steps // every))
    power = {"even": 1.0, "early": 1.4, "late": 1 / 1.4}[spacing]
    return {round((k / count) ** power * steps) for k in range(count)}
