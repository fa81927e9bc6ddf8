"""ToDo: fewer tokens to attend to where there are most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from pipelines.accelerators import Accelerator, accelerators
from pipelines.accelerators.patches import Grid, attending, unet_of
from pipelines.knobs import knob

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict, Run

Factor = Annotated[
    int, *knob("Spacing", "Each place looks at every so-manyth row and column: 1 at all.", ge=1, le=4, step=1)
]
Levels = Annotated[
    int, *knob("Levels", "On how many of the finest levels; 2 for very large pictures.", ge=1, le=2, step=1)
]


@accelerators.register("todo")
class TokenDownsampling(Accelerator):
    """Large pictures faster: on the finest level every place looks at a coarser grid of others.

    Smith et al. 2024, Section 3.2 (arXiv:2402.13573): keys and values of the finest self-attention are taken at every
    `factor`-th row and column, queries stay, so nothing has to be put back. Half as coarse one level below.
    """

    title = "ToDo"
    off = {"factor": 1}

    factor: Factor = 2
    levels: Levels = 1

    @contextmanager
    def apply(self, predict: Predict, run: Run) -> Iterator[Predict]:
        if self.factor == 1:
            yield predict
            return
        net, grid = unet_of(run, "ToDo"), Grid()

        def coarse(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
            grid.begin(x)
            return predict(x, sigma, conds)

        with attending(net, lambda own: Coarse(own, grid, self)):
            yield coarse


class Coarse:
    """A self-attention whose keys and values stand on a coarser grid than its queries."""

    def __init__(self, own: Any, grid: Grid, method: TokenDownsampling) -> None:
        self.own, self.grid, self.method = own, grid, method

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, *more: Any, **named: Any
    ) -> Any:
        level, rows, columns = self.grid.of(hidden_states.shape[1])
        factor = self.method.factor // 2**level if 0 <= level < self.method.levels else 1
        if encoder_hidden_states is None and factor > 1:
            tokens = hidden_states.reshape(len(hidden_states), rows, columns, -1)[:, ::factor, ::factor]
            encoder_hidden_states = tokens.flatten(1, 2)  # (B, T / factor^2, D)
        return self.own(attn, hidden_states, encoder_hidden_states, *more, **named)
