"""A part of a picture is painted anew; the rest is kept to the byte."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.grounds import repainted, walked
from pipelines.knobs import Strength, knob
from pipelines.repainting import Masked
from pipelines.tasks import Running, task

if TYPE_CHECKING:
    from pipelines.memory import Memory
    from pipelines.sheets import Sheet
    from pipelines.shelf import Shelf

Begin = Annotated[
    Literal["picture", "surroundings"],
    *knob("Begin with", "Below strength 1, what the masked part begins as: what is there, or what lies around it."),
]
Close = Annotated[
    bool,
    *knob(
        "Close up",
        "Paint a small mask larger than it is in pictures of the model's own size, too: better to put something "
        "there, worse to take something away, for the model sees less around it.",
        "toggle",
    ),
]


class Inpaint(Masked):
    """Repaints what a mask covers and keeps the rest to the byte."""

    task: Literal["inpaint"] = "inpaint"
    strength: Strength = 1.0
    begin: Begin = "picture"
    close: Close = False

    def sheet(self, shelf: Shelf) -> Sheet:
        """The picture under its mask. What begins with noise is covered, so that its edges leave no trace in what is
        kept. Raises BadRequest."""
        cover = 1 if self.begin == "surroundings" else 255 if self.strength == 1 else 256
        return replace(super().sheet(shelf), cover=cover, close=self.close)


@task(Inpaint)
def inpaint(request: Inpaint, memory: Memory, shelf: Shelf) -> Running:
    """Paints each picture over the same source; what is not masked never leaves it."""
    return repainted(request, memory, shelf, walked)
