"""One request is painted with up to three of its knobs varied, and each picture's cost is measured."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import ValidationInfo, field_validator

from pipelines.adapters import chosen
from pipelines.errors import StudioError
from pipelines.estimate import Expectation
from pipelines.events import Event, Finished, Painted, Progress, Remark, Result, Stage
from pipelines.grids import Axis, Cell, axis, cells
from pipelines.knobs import knob
from pipelines.painting import bytes_of, expected
from pipelines.request import validated
from pipelines.tasks import Running, task, tasks
from pipelines.tasks.text_to_image import TextToImage, text_to_image

if TYPE_CHECKING:
    from pipelines.memory import Memory
    from pipelines.shelf import Shelf

_values = "With commas between them: 5, 10, 20 or 1-10:3 or 0-1[5]; names as they are picked."
_replace = f"{_values} Of a prompt, the first words are what the others replace."


def _axis(letter: str, where: str) -> Any:
    return knob(letter, f"What varies {where}.", "axis", advanced=False, max_length=100)


def _held(letter: str) -> Any:
    return knob(f"{letter} values", _replace, "values", advanced=False, max_length=2000)


Reference = Annotated[
    int,
    *knob("Reference", "The column that the others are compared with, from the left.", "number", ge=1, le=256),
]
Skip = Annotated[
    tuple[int, ...], *knob("Left out", "Cells that are painted already, in reading order from 0.", "hidden")
]


class Compare(TextToImage):
    """Paints a grid of pictures that differ in the knobs you name, and measures what each costs."""

    task: Literal["compare"] = "compare"  # type: ignore[assignment]
    count: ClassVar[int] = 1  # type: ignore[misc]  # a cell is one picture: no field
    x: Annotated[str, *_axis("X axis", "from left to right")] = "steps"
    x_values: Annotated[str, *_held("X")] = "5, 10, 20"
    y: Annotated[str, *_axis("Y axis", "from top to bottom")] = ""
    y_values: Annotated[str, *_held("Y")] = ""
    z: Annotated[str, *_axis("Z axis", "from grid to grid")] = ""
    z_values: Annotated[str, *_held("Z")] = ""
    reference: Reference = 1
    skip: Skip = ()

    @field_validator("x_values", "y_values", "z_values")
    @classmethod
    def _on_its_own(cls, text: str, known: ValidationInfo) -> str:
        """Each axis by itself, so that a sentence can name it; the last one with all of them."""
        name = str(known.field_name)[0]
        held: dict[str, Any] = {**known.data, f"{name}_values": text}
        there = [each for each in "xyz" if f"{each}_values" in held and each in held]
        try:
            axes = {each: axis(TextToImage, held[each], held[f"{each}_values"]) for each in there}
            if name != "z":
                axes = {each: found for each, found in axes.items() if each == name and "." not in found.knob}
            base = validated(TextToImage, {each: held[each] for each in _shared() if each in held})
            cells(base, [axes.get(each, Axis()) for each in "xyz"])
        except StudioError as error:
            raise ValueError(f"{error}".rstrip(".")) from None
        return text

    @property
    def axes(self) -> tuple[Axis, Axis, Axis]:
        """Across, down, and from sheet to sheet."""
        pairs = ((self.x, self.x_values), (self.y, self.y_values), (self.z, self.z_values))
        across, down, sheets = (axis(TextToImage, name, text) for name, text in pairs)
        return across, down, sheets

    def cells(self) -> list[Cell[TextToImage]]:
        """Every cell in reading order. Raises BadRequest."""
        return cells(TextToImage(**{name: getattr(self, name) for name in _shared()}), self.axes)

    def wanted(self) -> list[TextToImage]:
        """What there is to paint: each request once, those of the reference column first, less what is left out."""
        every = self.cells()
        there = [every[k].request for k in self.skip if k < len(every)]
        first = sorted(every, key=lambda each: each.column != self.reference - 1)
        wanted: list[TextToImage] = []
        for cell in first:
            if cell.request not in wanted and cell.request not in there:
                wanted.append(cell.request)
        return wanted

    def without(self, made: list[TextToImage]) -> Self:
        """The same grid, less the cells whose pictures are made."""
        return self.model_copy(update={"skip": tuple(k for k, each in enumerate(self.cells()) if each.request in made)})

    def left(self, made: int) -> Self | None:
        """The request for what is not painted after so many pictures; None where that is nothing."""
        wanted = self.wanted()
        if made >= len(wanted):
            return None
        there = [self.cells()[k].request for k in self.skip]
        return self.without([*there, *wanted[:made]]) if made else self

    def extent(self, shelf: Shelf | None) -> tuple[int, int]:
        """Width and height of the largest cell."""
        sizes = [(each.request.width, each.request.height) for each in self.cells()]
        return max(sizes, key=lambda each: each[0] * each[1])

    def evaluations(self) -> int:
        """How many estimates of x0 the grid asks of networks, where no accelerator leaves any out."""
        return sum(each.evaluations() for each in self.wanted())

    def expectation(self, memory: Memory, shelf: Shelf | None) -> Expectation:
        """The sum of what the cells will cost; no seconds where one of them was never measured here."""
        wanted = self.wanted()
        each = [expected(request, memory, shelf) for request in wanted]
        seconds = None if any(cost.seconds is None for cost in each) else sum(cost.seconds or 0 for cost in each)
        remark = next((cost.remark for cost in each if cost.remark), "")
        if not each:
            return Expectation(0.0, bytes_of(chosen(self), memory, self.width, self.height), "")
        return Expectation(seconds, max(cost.bytes for cost in each), remark)


@dataclass(frozen=True)
class Refused(Remark):
    """A cell that could not be painted, and why."""

    request: TextToImage | None = None


@task(Compare, gradients=tasks["text_to_image"].gradients)
def compare(request: Compare, memory: Memory, shelf: Shelf) -> Running:
    """Paints cell by cell; one that cannot be painted says so, and the others go on."""
    wanted = request.wanted()
    for each in wanted:
        chosen(each)  # an unknown model is said before anything is painted
    done: list[Painted[TextToImage]] = []
    refusals: list[str] = []
    for k, each in enumerate(wanted):
        try:
            done.append((yield from measured(each, memory, shelf, k + 1, len(wanted))))
        except StudioError as error:
            refusals.append(str(error))
            yield Refused(str(error), each)
    if refusals and not done:
        raise StudioError(refusals[0])
    return Result(tuple(done))


def measured(
    request: TextToImage, memory: Memory, shelf: Shelf, picture: int, pictures: int
) -> Generator[Event, None, Painted[TextToImage]]:
    """One cell. Its figures are seconds, all parts loaded and those of who listens not counted, and the estimates that
    networks were asked for; none where the family runs in its own pipeline. Its request is that of the cell."""
    spec = chosen(request)
    for part in spec.parts():
        if not memory.holds(part):
            yield Stage(f"Loading {spec.title}")
            with memory.use(part):
                pass
    before, seconds = memory.estimates, 0.0
    with closing(text_to_image(request, memory, shelf)) as running:
        while True:
            begun = time.perf_counter()
            event = next(running)
            seconds += time.perf_counter() - begun
            if isinstance(event, Finished):
                break
            yield replace(event, picture=picture, pictures=pictures) if isinstance(event, Progress) else event
        figures: dict[str, float] = {"seconds": seconds}
        if not spec.whole:
            figures["evaluations"] = memory.estimates - before
        painted = Painted(event.painted.picture, request, figures=figures)
        yield Finished(painted)
    return painted


def _shared() -> list[str]:
    return [name for name in TextToImage.model_fields if name not in ("task", "count")]
