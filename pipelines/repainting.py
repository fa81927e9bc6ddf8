"""What all tasks that begin with a picture ask for: the picture, its mask, and how large it is painted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pipelines.adapters import chosen
from pipelines.errors import BadRequest
from pipelines.guidance import guidances
from pipelines.knobs import Count, Mask, Source, knob
from pipelines.painting import Sampled
from pipelines.samplers import samplers

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.frames import Frame
    from pipelines.models import ModelSpec
    from pipelines.sheets import Sheet
    from pipelines.shelf import Shelf

Detail = Annotated[
    float,
    *knob(
        "Detail",
        "How large the picture is painted, times the model's own size: more is finer, slower, and may double things.",
        ge=0.5,
        le=4,
        step=0.1,
    ),
]

Grow = Annotated[int, *knob("Grow", "Widens the mask by so many pixels.", ge=0, le=256, step=1)]
Feather = Annotated[
    int, *knob("Feather", "Softens the edge over so many pixels, all of them inside the mask.", ge=0, le=256, step=1)
]
Margin = Annotated[
    int,
    *knob(
        "Margin",
        "Pixels around the mask that the model sees, where the picture is larger than the model.",
        ge=0,
        le=1024,
        step=8,
    ),
]
OnlyMasked = Annotated[
    bool, *knob("Only masked", "In pictures larger than the model, paint the part around the mask at full resolution.")
]


class Repainted(Sampled):
    """What every task that begins with a picture asks for. A result has the size of its picture.

    Where a task `keeps_detail`, what it leaves as it was read keeps what the autoencoder would lose.
    """

    keeps_detail: ClassVar[bool] = False

    source: Source = ""
    count: Count = 1
    detail: Detail = 1.0

    def evaluations(self) -> int:
        """How many estimates of x0 one picture asks of the network, about: the share of the steps that is walked."""
        return self.walking(max(1, round(self.steps * strength_of(self))))

    def walking(self, steps: int) -> int:
        """How many estimates a walk of so many steps asks of the network."""
        walk = self.sampler.build(samplers).evaluations(steps)
        return int(walk * self.guidance.build(guidances).asked(self.prompt))

    def opened(self, shelf: Shelf) -> Image:
        """The picture to begin with, RGB or RGBA. Raises BadRequest where there is none."""
        if not self.source:
            raise BadRequest("Picture: choose one to start from.")
        picture = shelf.open(self.source)
        return picture.convert("RGB") if picture.mode == "L" else picture

    def sheet(self, shelf: Shelf) -> Sheet:
        """The picture laid out: what of it may change, and how much. Raises BadRequest."""
        raise TypeError(f"{type(self).__name__} does not say what it repaints")

    def frame(self, shelf: Shelf) -> Frame:
        """What will be painted, and how large, before it is. Raises BadRequest and UnknownName."""
        spec = chosen(self)
        return self.sheet(shelf).frame(spec.side, step_of(spec), self.detail)

    def extent(self, shelf: Shelf | None) -> tuple[int, int]:
        """Width and height of what the model paints; its own size as long as there is no picture."""
        if shelf is None or not self.source:
            side = chosen(self).side
            return side, side
        frame = self.frame(shelf)
        return frame.outer_width, frame.outer_height


class Masked(Repainted):
    """What a task asks for that may keep a part of its picture."""

    mask: Mask = ""
    grow: Grow = 0
    feather: Feather = 4
    only_masked: OnlyMasked = True
    margin: Margin = 64

    def sheet(self, shelf: Shelf) -> Sheet:
        """The picture under its mask; without a mask all of it, or what is transparent. Raises BadRequest."""
        from pipelines import masks
        from pipelines.sheets import laid_out

        picture, remark, mask = self.opened(shelf), "", None
        if self.mask:
            fitted, remark = masks.fitted(shelf.open(self.mask), picture.size)
            mask = masks.of_picture(fitted)
            masks.box_of(mask)  # an empty mask is refused here
        margin = self.margin if self.only_masked else max(picture.size)
        sheet = laid_out(picture, mask, self.grow, self.feather, margin)
        return replace(sheet, remarks=(remark,) if remark else ())


def strength_of(request: Any) -> float:
    """How much a request lets change at the most, 0..1."""
    return float(getattr(request, "strength", 1.0))


def step_of(spec: ModelSpec) -> int:
    """What a painting's sides are multiples of: four places of the latents, so that two levels of a network halve."""
    return 4 * spec.factor
