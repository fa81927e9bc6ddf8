"""A thing is put elsewhere in its picture, or into another: its pixels go as they are, what they leave is repainted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.adapters import chosen
from pipelines.errors import BadRequest
from pipelines.events import Finished, Painted, Result, Stage
from pipelines.gestures import At, Clicks, place_in
from pipelines.grounds import repainted, walked
from pipelines.knobs import knob
from pipelines.repainting import Grow, Masked
from pipelines.tasks import Running, task

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.masks import Mask as Levels
    from pipelines.memory import Memory
    from pipelines.sheets import Sheet
    from pipelines.shelf import Shelf

RIM = 1 / 64  # of the shorter side: the width of the edge that is blended, to each side of it
_name = "^([0-9a-f]{32})?$"

Gesture = Annotated[
    Literal["move", "resize", "copy", "paste"],
    *knob(
        "Gesture",
        "Move and resize repaint what is uncovered, copy leaves the thing where it is as well, paste takes it from "
        "another picture.",
        advanced=False,
    ),
]
Thing = Annotated[
    str,
    *knob("Thing", "White where the thing is, in the picture it comes from.", "mask", advanced=False, pattern=_name),
]
Other = Annotated[str, *knob("Other picture", "The picture to paste from.", "picture", advanced=False, pattern=_name)]
Size = Annotated[
    float, *knob("Size", "How many times as large the thing becomes.", ge=0.05, le=8, step=0.05, advanced=False)
]
Blend = Annotated[
    float,
    *knob("Blend", "How much of the thing's edge is repainted to go with what is around it.", ge=0, le=1, step=0.05),
]

Anew = Annotated[
    float,
    *knob(
        "Strength",
        "How much of what is uncovered is painted anew: little continues what lies around it, all may put a new thing "
        "there.",
        ge=0.05,
        le=1,
        step=0.05,
    ),
]


class Move(Masked):
    """Puts a thing elsewhere in a picture, smaller, larger, twice, or from another, and repaints what it uncovers."""

    task: Literal["move"] = "move"
    gesture: Gesture = "move"
    mask: Thing = ""
    clicks: Clicks = ""
    other: Other = ""
    to: At = ""
    size: Size = 1.0
    blend: Blend = 0.3
    strength: Anew = 0.7
    grow: Grow = 6
    feather: Annotated[int, *knob("Feather", "Softens the edge over so many pixels.", ge=0, le=256, step=1)] = 2

    def home(self, shelf: Shelf) -> Image:
        """The picture that the thing comes from. Raises BadRequest."""
        if self.gesture != "paste":
            return self.opened(shelf)
        if not self.other:
            raise BadRequest("Other picture: choose one to paste from.")
        return Masked(source=self.other, task="move").opened(shelf)

    def thing(self, shelf: Shelf) -> Levels:
        """Where the thing is in the picture it comes from, (H, W) of 0..255. Raises BadRequest."""
        from pipelines import masks

        if not self.mask:
            raise BadRequest("Thing: click on what should move, or paint over it.")
        fitted, _ = masks.fitted(shelf.open(self.mask), self.home(shelf).size)
        mask = masks.of_picture(fitted)
        masks.box_of(mask)  # an empty one is refused here
        return mask

    def sheet(self, shelf: Shelf) -> Sheet:
        """The picture with the thing where it belongs; what it left is to be painted anew, and its edge a little.
        Raises BadRequest."""
        from pipelines import masks
        from pipelines.motion import placed
        from pipelines.sheets import Sheet

        below, mask = self.opened(shelf), self.thing(shelf)
        whole, shown = placed(below, self.home(shelf), mask, self.goal(mask, below.size), self.size)
        if not shown.any():
            raise BadRequest("To: nothing of the thing would be left in the picture.")
        hole = masks.grown(mask, self.grow) if self.gesture in ("move", "resize") else shown * 0
        margin = self.margin if self.only_masked else max(below.size)
        return Sheet(whole, to_paint(hole, shown, self.blend), self.feather, margin=margin, cover=255)

    def goal(self, mask: Levels, size: tuple[int, int]) -> tuple[float, float]:
        """Where the middle of the box of a thing belongs: unless said, where it is; for another picture, its middle."""
        from pipelines import masks

        left, top, right, bottom = masks.box_of(mask)
        stays = ((left + right) / 2, (top + bottom) / 2)
        return place_in(self.to) or ((size[0] / 2, size[1] / 2) if self.gesture == "paste" else stays)

    def extent(self, shelf: Shelf | None) -> tuple[int, int]:
        """Width and height of what the model paints; its own size as long as nothing says what moves."""
        return super().extent(shelf if self.mask else None)


def to_paint(hole: Levels, shown: Levels, blend: float) -> Levels:
    """How much each pixel may change, (H, W): all where a hole is not covered, in part along the edge of the thing."""
    import numpy as np

    from pipelines.seams import neighbours

    there = shown > 127
    width = max(2, round(RIM * min(shown.shape)))
    rim = neighbours(there, width) & neighbours(~there, width)
    edge = np.where(rim & (blend > 0), max(1, min(254, round(255 * blend))), 0)
    return np.where((hole > 0) & ~there, 255, edge).astype(np.uint8)


@task(Move)
def move(request: Move, memory: Memory, shelf: Shelf) -> Running:
    """In one go: the thing is laid where it belongs, and the picture is repainted where the sheet says so."""
    if request.clicks and not request.mask:
        yield Stage("Looking for the thing")
        request = request.model_copy(update={"mask": clicked(request, memory, shelf), "clicks": ""})
    sheet = request.sheet(shelf)
    if sheet.mask.any():
        return (yield from repainted(request, memory, shelf, walked))
    done = [Painted(sheet.picture, single) for single in request.singles()]
    yield from map(Finished, done)
    return Result(tuple(done), ("Nothing had to be painted.",))


def clicked(request: Move, memory: Memory, shelf: Shelf) -> str:
    """The name of a mask of what was clicked, on the shelf. Raises BadRequest and StudioError."""
    from pipelines.features import Click, seen, selected

    home = request.home(shelf)
    clicks = []
    for text in request.clicks.split():
        x, y = (int(each) for each in text.removeprefix("-").split(","))
        clicks.append(Click(x, y, adds=not text.startswith("-")))
    return shelf.put(selected(seen(home, chosen(request), memory), clicks))
