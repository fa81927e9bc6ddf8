"""A thing comes to look like one in another picture, and keeps its shape and its place."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.errors import BadRequest
from pipelines.grounds import repainted
from pipelines.guidance import guidances
from pipelines.inversion import ROUNDS
from pipelines.knobs import knob
from pipelines.likening import likened
from pipelines.method import Choice
from pipelines.painting import GuidanceChoice
from pipelines.repainting import Grow, Masked
from pipelines.tasks import Running, task
from pipelines.tasks.drag import KEPT_MAPS, PULLED, Depth, Pull

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.masks import Mask as Levels
    from pipelines.memory import Memory
    from pipelines.sheets import Sheet
    from pipelines.shelf import Shelf

_name = "^([0-9a-f]{32})?$"
Other = Annotated[
    str, *knob("Reference", "The picture that shows how it should look.", "picture", advanced=False, pattern=_name)
]
Look = Annotated[
    str,
    *knob("Part of the reference", "White where the reference shows it; empty for all of it.", "mask", pattern=_name),
]


class Appearance(Masked):
    """Gives a thing the colours and surface of one in another picture; its shape and place stay."""

    task: Literal["appearance"] = "appearance"
    other: Other = ""
    look: Look = ""
    depth: Depth = 0.3
    pull: Pull = 0.1
    grow: Grow = 6  # so that the seam runs beside the thing, whose colours change
    feather: Annotated[int, *knob("Feather", "Softens the edge over so many pixels.", ge=0, le=256, step=1)] = 2
    guidance: GuidanceChoice = Choice(name="cfg", knobs={"scale": 1.0})

    def sheet(self, shelf: Shelf) -> Sheet:
        """The picture under its mask, without which nothing says what should change. Raises BadRequest."""
        if self.source and not self.mask:
            raise BadRequest("Mask: point at what should look different, or paint over it.")
        return super().sheet(shelf)

    def thing(self, shelf: Shelf) -> Levels:
        """Where the thing is, (H, W) of 0..255. Raises BadRequest."""
        from pipelines import masks

        return masks.of_picture(masks.fitted(shelf.open(self.mask), self.opened(shelf).size)[0])

    def extent(self, shelf: Shelf | None) -> tuple[int, int]:
        """Width and height of what the model paints; its own size as long as nothing says what changes."""
        return super().extent(shelf if self.mask else None)

    def example(self, shelf: Shelf) -> tuple[Image, Levels]:
        """The reference, and (H, W) of 0..255 where it shows what it is brought for. Raises BadRequest."""
        from pipelines import masks

        if not self.other:
            raise BadRequest("Reference: choose a picture that shows how it should look.")
        picture = Masked(source=self.other, task="appearance").opened(shelf)
        if not self.look:
            clear = masks.of_alpha(picture)
            whole = picture.convert("L").point(lambda _: 255)
            return picture, masks.of_picture(whole) if clear is None else 255 - clear
        mask = masks.of_picture(masks.fitted(shelf.open(self.look), picture.size)[0])
        masks.box_of(mask)  # an empty one is refused here
        return picture, mask

    def walking(self, steps: int) -> int:
        """How many estimates it asks of the network, on its way up and down."""
        asked = self.guidance.build(guidances).asked(self.prompt)
        return int(steps * self.depth * (ROUNDS + 1 + asked) + PULLED * steps)

    def held(self) -> float:
        """Where gradients are taken, what the network computes on its way is kept."""
        return KEPT_MAPS


@task(Appearance, gradients=True)
def appearance(request: Appearance, memory: Memory, shelf: Shelf) -> Running:
    """Inverted, and walked down beside itself, pulled to what the network sees in the reference."""
    if request.accelerators:
        raise BadRequest("Accelerators: this looks into the network at every step; take them off.")
    request.example(shelf)  # what is wrong with it is said before anything is loaded
    return (yield from repainted(request, memory, shelf, partial(likened, shelf=shelf)))
