"""The colour of a part of the picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from pipelines.energies import Energy, Measure, Part, energies, region, small
from pipelines.knobs import knob

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Run

Hue = Annotated[
    str, *knob("Colour", "The colour to lean towards, as #rrggbb.", "text", pattern="^#[0-9a-fA-F]{6}$", max_length=7)
]


@energies.register("colour")
class Colour(Energy):
    """How far the mean colour of a part is from one that you name."""

    colour: Hue = "#c04030"
    where: Part = "everywhere"

    @contextmanager
    def of(self, run: Run) -> Iterator[Measure]:
        import torch

        show = small(run)
        levels = [int(self.colour[i : i + 2], 16) / 127.5 - 1 for i in (1, 3, 5)]
        target = torch.tensor(levels, device=run.sigmas.device)

        def measure(latents: Tensor) -> Tensor:
            part = region(self.where, latents)
            mean = (show(latents) * part).sum([2, 3]) / part.sum()  # (B, 3)
            return (mean - target).square().mean(1)

        yield measure
