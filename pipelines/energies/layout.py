"""The lie of light, colour and shape, taken from a sketch or a mask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.energies import Energy, Measure, Named, energies, pixels_of, small
from pipelines.knobs import knob

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Run

Taken = Annotated[
    Literal["colours", "light"],
    *knob("Takes", "Its colours, or only what is lighter and darker than the rest, as from a sketch or a mask."),
]


@energies.register("layout")
class Layout(Energy):
    """How far each place is from a sketch or a mask that you choose, in colour or in light alone."""

    picture: Named = ""
    takes: Taken = "light"

    @contextmanager
    def of(self, run: Run) -> Iterator[Measure]:
        from torch.nn.functional import interpolate

        show, pixels = small(run), pixels_of(run, self.picture)

        def measure(latents: Tensor) -> Tensor:
            target = interpolate(pixels, latents.shape[-2:], mode="area")
            return (self._taken(show(latents)) - self._taken(target)).square().mean([1, 2, 3])

        yield measure

    def _taken(self, seen: Tensor) -> Tensor:
        """What of a picture is compared; of light, only how it lies about its own mean and spread."""
        if self.takes == "colours":
            return seen
        grey = seen.mean(1, keepdim=True)
        centred = grey - grey.mean([2, 3], keepdim=True)
        return centred / centred.square().mean([2, 3], keepdim=True).add(1e-4).sqrt()
