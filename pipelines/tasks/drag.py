"""Points of a picture are pulled where they belong, and the picture follows."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.dragging import dragged, found
from pipelines.errors import BadRequest
from pipelines.events import Finished, Painted, Result, Stage
from pipelines.gestures import Arrows, around, arrows_in
from pipelines.grounds import repainted
from pipelines.guidance import guidances
from pipelines.inversion import ROUNDS
from pipelines.knobs import knob
from pipelines.method import Choice
from pipelines.painting import GuidanceChoice
from pipelines.repainting import Grow, Masked
from pipelines.tasks import Running, task
from pipelines.tasks.move import Anew, Blend, to_paint

if TYPE_CHECKING:
    from pipelines.masks import Mask as Levels
    from pipelines.memory import Memory
    from pipelines.motion import Shift
    from pipelines.sheets import Sheet
    from pipelines.shelf import Shelf

KEPT_MAPS = 13.0  # times what a plain pass needs: what autograd saves up to the last level in SD 1.5's UNet at 512 px
PULLED = 6.0  # estimates that an update of the energy costs, time travel counted, over the whole walk
LEARNED = 12.0  # and a step of learning the picture by heart
UPDATED = 3.0  # estimates that an update of a search costs, forth and back

Moves = Annotated[
    Literal["thing", "part"],
    *knob(
        "What moves",
        "The thing that an arrow begins on goes as a whole, or only what is around, and the rest stretches.",
        advanced=False,
    ),
]
Way = Annotated[
    Literal["warp", "energy", "search"],
    *knob(
        "Way",
        "warp takes things along in one go and repaints what that uncovers, quickest; energy pulls by what the model "
        "sees (DiffEditor); search looks for better noise step by step (DragDiffusion).",
        advanced=False,
    ),
]
Things = Annotated[
    str, *knob("Things", "White where things are that can be pulled.", "mask", pattern="^([0-9a-f]{32})?$")
]
Depth = Annotated[
    float, *knob("Depth", "How far up the noise energy and search begin: more changes more.", ge=0.1, le=1, step=0.05)
]
Reach = Annotated[
    float, *knob("Reach", "How far around a point what moves with it goes as one, in pixels.", ge=0, le=256, step=1)
]
Pull = Annotated[float, *knob("Pull", "How strongly each step of energy pulls.", ge=0, le=1, step=0.01)]
Updates = Annotated[int, *knob("Updates", "How many steps a search takes at the most.", ge=1, le=300, step=1)]
Identity = Annotated[
    int,
    *knob(
        "Identity",
        "In how many steps the model first learns the picture by heart: 80 keep a search nearer to it, 0 is none.",
        ge=0,
        le=400,
        step=10,
    ),
]


class Drag(Masked):
    """Pulls points of a picture where they belong, and the picture follows."""

    keeps_detail = True

    task: Literal["drag"] = "drag"
    arrows: Arrows = ""
    moves: Moves = "thing"
    way: Way = "warp"
    things: Things = ""
    depth: Depth = 0.6
    reach: Reach = 16
    pull: Pull = 0.1
    updates: Updates = 60
    identity: Identity = 0
    blend: Blend = 0.3
    strength: Anew = 0.7
    grow: Grow = 6
    feather: Annotated[int, *knob("Feather", "Softens the edge over so many pixels.", ge=0, le=256, step=1)] = 2
    guidance: GuidanceChoice = Choice(name="cfg", knobs={"scale": 1.0})

    def free(self, shelf: Shelf, size: tuple[int, int]) -> Levels | None:
        """What the mask lets change, (H, W) of 0..255; None where there is no mask. Raises BadRequest."""
        return freed(self.arrows, self.mask, shelf, size)

    def shift(self, shelf: Shelf, size: tuple[int, int]) -> Shift:
        """Which pixel each one shows once all is where it belongs. Raises BadRequest."""
        return shifted(self.arrows, self.mask, self.things, self.moves, self.reach, shelf, size)  # type: ignore[arg-type]

    def sheet(self, shelf: Shelf) -> Sheet:
        """For a warp, the picture with all where it belongs, and what that uncovers is to be painted; else what may
        change: what the mask says, or what lies around the arrows. Raises BadRequest."""
        import numpy as np

        from pipelines import masks, warping
        from pipelines.sheets import Sheet, laid_out

        picture = self.opened(shelf)
        shift, free = self.shift(shelf, picture.size), self.free(shelf, picture.size)
        margin = self.margin if self.only_masked else max(picture.size)
        if self.way == "warp" and (self.things or self.moves == "part"):
            hole = masks.grown(np.where(shift.left, 255, 0).astype(np.uint8), self.grow)
            paint = to_paint(hole, np.where(shift.moved, 255, 0).astype(np.uint8), self.blend)
            paint = paint if free is None else np.minimum(paint, free)
            return Sheet(warping.shown(picture, shift), paint, self.feather, margin=margin, cover=255)
        if free is None:
            near = np.maximum(around(arrows_in(self.arrows, picture.size), picture.size), np.where(shift.free, 255, 0))
            free = masks.grown(near.astype(np.uint8), self.grow)
        return laid_out(picture, free, 0, self.feather, margin)

    def extent(self, shelf: Shelf | None) -> tuple[int, int]:
        """Width and height of what the model paints; its own size as long as there are no arrows."""
        return super().extent(shelf if self.arrows else None)

    def evaluations(self) -> int:
        """How many estimates of x0 one picture asks of the network, about."""
        return super().evaluations() if self.way == "warp" else self.walking(self.steps)

    def walking(self, steps: int) -> int:
        """How many estimates a drag over so many steps asks of the network, on its way up and down."""
        if self.way == "warp":
            return super().walking(steps)
        asked = self.guidance.build(guidances).asked(self.prompt)
        extra = PULLED * steps if self.way == "energy" else UPDATED * self.updates
        extra += LEARNED * self.identity
        return int(steps * self.depth * (ROUNDS + 1 + asked) + extra)

    def held(self) -> float:
        """Where gradients are taken, what the network computes on its way is kept."""
        return 1.0 if self.way == "warp" else KEPT_MAPS


def freed(arrows: str, mask: str, shelf: Shelf, size: tuple[int, int]) -> Levels | None:
    """What a mask lets change; it lets every arrow begin. Raises BadRequest."""
    from pipelines import masks

    if not mask:
        return None
    free = masks.of_picture(masks.fitted(shelf.open(mask), size)[0])
    masks.box_of(free)  # an empty one is refused here
    for handle, _ in (each for each in arrows_in(arrows, size) if each.length):
        if not free[int(handle.y), int(handle.x)]:
            raise BadRequest(f"Mask: it leaves out ({handle.x:.0f}, {handle.y:.0f}), where an arrow begins.")
    return free


@lru_cache(1)  # sheet, frame and walk all ask for it, and in a large picture it takes a while
def shifted(text: str, mask: str, things: str, moves: str, reach: float, shelf: Shelf, size: tuple[int, int]) -> Shift:
    """Which pixel each one shows once all is where the arrows of a text want it."""
    import numpy as np

    from pipelines import masks, warping

    arrows, free = arrows_in(text, size), freed(text, mask, shelf, size)
    if moves == "part":
        return warping.stretched(arrows, (around(arrows, size) if free is None else free) > 0, reach)
    where = np.zeros((size[1], size[0]), bool)
    if things:
        where = masks.of_picture(masks.fitted(shelf.open(things), size)[0]) > 127
    return warping.pulled(where, arrows, np.ones_like(where) if free is None else free > 0)


@task(Drag, gradients=True, keeps_best=True)
def drag(request: Drag, memory: Memory, shelf: Shelf) -> Running:
    """The things under the arrows are found once; then all is taken along in one go, or pulled beside the source."""
    if request.accelerators and request.way != "warp":
        raise BadRequest("Accelerators: energy and search look into the network at every step; take them off, or warp.")
    size = request.opened(shelf).size
    arrows, _ = arrows_in(request.arrows, size), request.free(shelf, size)
    if request.moves == "thing" and not request.things:
        yield Stage("Looking for what is pulled")
        request = request.model_copy(update={"things": found(request, memory, shelf, arrows)})
    if request.sheet(shelf).mask.any():
        return (yield from repainted(request, memory, shelf, partial(dragged, shelf=shelf, arrows=arrows)))
    done = [Painted(request.sheet(shelf).picture, single) for single in request.singles()]
    yield from map(Finished, done)
    return Result(tuple(done), ("Nothing had to be painted.",))
