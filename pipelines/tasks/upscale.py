"""Pictures are enlarged, one after another, by the method that the request names."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from pipelines.adapters import chosen
from pipelines.errors import BadRequest, StudioError
from pipelines.estimate import Expectation
from pipelines.events import Event, Finished, Painted, Remark, Result, Stage
from pipelines.knobs import Source, knob
from pipelines.method import Choice, OneOf
from pipelines.painting import Sampled, bytes_of
from pipelines.tasks import Running, task
from pipelines.upscalers import numbered, upscalers

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.memory import Memory
    from pipelines.shelf import Shelf

MOST = 100  # pictures of one request
BYTES = 8  # a pixel of the result: as it is made, as it is kept, and its transparency

More = Annotated[
    tuple[Annotated[str, Field(pattern="^[0-9a-f]{32}$")], ...],
    *knob("More pictures", "Further pictures, enlarged one by one.", "pictures", max_length=MOST - 1, advanced=False),
]
Times = Annotated[Literal[2, 3, 4, 8], *knob("Times", "How many times as long each edge becomes.", advanced=False)]
Edge = Annotated[
    int,
    *knob(
        "Longest edge",
        "Pixels of the longest edge of the result, in place of a number of times; 0 for that.",
        "number",
        ge=0,
        le=65_535,
        advanced=False,
    ),
]
UpscalerChoice = Annotated[Choice, OneOf(upscalers), *knob("Method", "What the new pixels come from.", advanced=False)]


class Upscale(Sampled):
    """Enlarges pictures twofold to eightfold, or to a size."""

    task: Literal["upscale"] = "upscale"
    source: Source = ""
    more: More = ()
    times: Times = 4
    edge: Edge = 0
    upscaler: UpscalerChoice = Choice(name="compact" if "compact" in upscalers else "lanczos")

    def sources(self) -> tuple[str, ...]:
        """The names of the pictures to enlarge. Raises BadRequest where there is none."""
        if not self.source:
            raise BadRequest("Picture: choose one to enlarge.")
        return (self.source, *self.more)

    def singles(self) -> list[Self]:
        """One request a picture, each with the same seed, so that it is the same alone and among others."""
        return [self.model_copy(update={"source": name, "more": ()}) for name in self.sources()]

    def left(self, made: int) -> Self | None:
        """The request for all but the first pictures; None where there is no other."""
        names = self.sources()[made:]
        return self.model_copy(update={"source": names[0], "more": names[1:]}) if names else None

    def wanted(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size that a picture of a size is to have. Raises BadRequest where that is no larger, or too large."""
        from pipelines.pictures import LARGEST

        if self.edge and self.edge <= max(size):
            raise BadRequest(f"Longest edge: that of the picture is {max(size)} pixels already.")
        ratio = self.edge / max(size) if self.edge else self.times
        width, height = (max(1, round(side * ratio)) for side in size)
        if width * height > LARGEST:
            raise BadRequest(
                f"{'Longest edge' if self.edge else 'Times'}: the result would have {width} x {height} pixels; "
                f"the studio makes pictures of up to {LARGEST // 10**6} megapixels."
            )
        return width, height

    def extent(self, shelf: Shelf | None) -> tuple[int, int]:
        """Width and height of the largest tile that the model paints; of next to nothing where none does."""
        if not upscalers[self.upscaler.name].paints:
            return 1, 1
        side = chosen(self).side * 3 // 2
        return side, side

    def areas(self, shelf: Shelf | None) -> float:
        """How often as much as `extent` is painted, of all pictures."""
        if shelf is None or not self.source or not upscalers[self.upscaler.name].paints:
            return 1.0
        wide, high = self.extent(shelf)
        sizes = map(self.wanted, map(shelf.size, self.sources()))
        return sum(max(1.0, width * height / (wide * high)) for width, height in sizes)

    def expectation(self, memory: Memory, shelf: Shelf | None) -> Expectation | None:
        """Seconds as this machine took for as many pixels by this method; bytes of the largest result and beside."""
        names = self.sources()
        sizes = [self.wanted(shelf.size(name)) for name in names] if shelf else []
        seconds = [memory.expected(*self.work(), *size) for size in sizes]
        method = self.upscaler.build(upscalers)
        method.check(self)
        known = [each for each in seconds if each is not None]
        if method.paints and len(known) < len(names):
            return None  # its steps say it
        beside = bytes_of(chosen(self), memory, *self.extent(shelf)) if method.paints else method.beside(memory)
        needed = beside + BYTES * max((width * height for width, height in sizes), default=0)
        if len(known) < len(names):
            return Expectation(None, needed, "not measured on this machine yet")
        return Expectation(sum(known) * self.units(), needed)

    def work(self) -> tuple[str, str]:
        """What the ledger calls this work, and by which model."""
        name = self.upscaler.name
        return f"upscale by {name}", self.model if upscalers[name].paints else ""

    def units(self) -> int:
        """What the time is in proportion to, beside pixels."""
        return max(1, self.evaluations()) if upscalers[self.upscaler.name].paints else 1


@task(Upscale)
def upscale(request: Upscale, memory: Memory, shelf: Shelf) -> Running:
    """Enlarges picture by picture; where there are several, one that cannot be enlarged does not hold up the others."""
    done: list[Painted[Upscale]] = []
    remarks: list[str] = []
    said, singles = "", request.singles()
    for k, single in enumerate(singles):
        if len(singles) > 1:
            yield Stage(f"Picture {k + 1} of {len(singles)}")
        try:
            picture, said = yield from enlarged(single, memory, shelf, k + 1, len(singles))
        except StudioError as error:
            if len(singles) == 1:
                raise
            remarks.append(f"Picture {k + 1} of {len(singles)} was left out. {error}")
            yield Remark(remarks[-1])
            continue
        done.append(Painted(picture, single))
        yield Finished(done[-1])
    if not done:
        raise StudioError(remarks[0])
    if len(singles) > 1:
        said = f"{len(done)} of {len(singles)} pictures were enlarged."
    return Result(tuple(done), (said,))


def enlarged(
    single: Upscale, memory: Memory, shelf: Shelf, number: int, count: int
) -> Generator[Event, None, tuple[Image, str]]:
    """One picture, and what became of its size: colours by the request's method, transparency by interpolation; a grey
    picture stays grey. Raises StudioError."""
    from PIL.Image import Resampling

    picture = shelf.open(single.source)
    size = single.wanted(picture.size)
    method = single.upscaler.build(upscalers)
    with memory.timed(*single.work(), *size, single.units()):
        result = yield from numbered(method(coloured(picture), size, single, memory), number, count)
    if picture.mode == "RGBA":
        result.putalpha(picture.getchannel("A").resize(size, Resampling.LANCZOS))
    (width, height), (wide, high) = picture.size, size
    said = f"{width} x {height} pixels became {wide} x {high}."
    return result.convert("L") if picture.mode == "L" else result, said


def coloured(picture: Image) -> Image:
    """A picture's colours, RGB; what is wholly transparent has that of the nearest place which is not, so that none
    that nobody saw bleeds over an edge."""
    import numpy as np
    from PIL.Image import fromarray
    from scipy.ndimage import distance_transform_edt

    if picture.mode != "RGBA":
        return picture.convert("RGB")
    levels, clear = np.asarray(picture.convert("RGB")), np.asarray(picture.getchannel("A")) == 0
    if clear.all() or not clear.any():
        return picture.convert("RGB")
    rows, columns = distance_transform_edt(clear, return_distances=False, return_indices=True)
    return fromarray(levels[rows, columns])
