"""A part of a picture is painted anew; the rest is kept to the byte."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pipelines.adapters import chosen
from pipelines.beginnings import SHARE, best_begun, chooses
from pipelines.events import Finished, Painted, Progress, Result
from pipelines.grounds import repainted
from pipelines.knobs import Strength, knob
from pipelines.repainting import Masked, step_of
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
        "In pictures of the model's own size, paint a small mask a second time, larger than it is: what was begun in "
        "the whole picture becomes clear. Takes half as long again.",
        "toggle",
    ),
]
Tries = Annotated[
    int,
    *knob(
        "Beginnings",
        "So many beginnings of the masked part are painted, a third of the way each; the one that fits best into what "
        "lies around it goes on. 1 is quickest.",
        ge=1,
        le=16,
        step=1,
    ),
]
AGAIN = 0.6  # strength of the second look; at 1 surroundings suffer


class Inpaint(Masked):
    """Repaints what a mask covers and keeps the rest to the byte."""

    task: Literal["inpaint"] = "inpaint"
    strength: Strength = 1.0
    begin: Begin = "picture"
    close: Close = False
    tries: Tries = 4

    def sheet(self, shelf: Shelf) -> Sheet:
        """The picture under its mask. What begins with noise is covered, so that its edges leave no trace in what is
        kept. Raises BadRequest."""
        cover = 1 if self.begin == "surroundings" else 255 if self.strength == 1 else 256
        return replace(super().sheet(shelf), cover=cover)

    def looks_again(self, shelf: Shelf) -> bool:
        """Whether a second look sees more of what is masked than the first. Raises BadRequest."""
        spec, sheet = chosen(self), self.sheet(shelf)
        frames = [replace(sheet, close=near).frame(spec.side, step_of(spec), self.detail) for near in (False, True)]
        whole = self.strength == 1 and sheet.strongest == 1  # what may change in part only is not begun anew
        return self.close and bool(self.mask) and whole and frames[0] != frames[1]

    def areas(self, shelf: Shelf | None) -> float:
        """Further beginnings and a second look walk a share of the steps once more. Raises BadRequest."""
        if shelf is None or not self.source:
            return 1.0
        begins = SHARE * (self.tries - 1) if chooses(self) and self.mask and self.strength == 1 else 0.0
        return 1 + begins + (AGAIN if self.looks_again(shelf) else 0.0)


class Again(Inpaint):
    """The second look at what was painted."""

    def sheet(self, shelf: Shelf) -> Sheet:
        """The same picture under the same mask, close up."""
        return replace(super().sheet(shelf), close=True)


@task(Inpaint)
def inpaint(request: Inpaint, memory: Memory, shelf: Shelf) -> Running:
    """Paints each picture over the same source; what is not masked never leaves it."""
    if not request.looks_again(shelf):
        return (yield from repainted(request, memory, shelf, best_begun))
    done: list[Painted[Inpaint]] = []
    remarks: list[str] = []
    for k, single in enumerate(request.singles(), 1):
        first = yield from look(repainted(single, memory, shelf, best_begun), k, request.count)
        begun: Any = first.pictures[0].picture
        asked: dict[str, Any] = single.model_dump() | {"source": shelf.put(begun), "strength": AGAIN}
        second = yield from look(repainted(Again(**asked), memory, shelf, best_begun), k, request.count)
        done.append(Painted(second.pictures[0].picture, single))
        name = f"Picture {k}" if request.count > 1 else "The picture"
        remarks += [each.replace("The picture", name, 1) for each in second.remarks]
        yield Finished(done[-1])
    return Result(tuple(done), tuple(remarks))


def look(running: Running, picture: int, pictures: int) -> Running:
    """The same events as those of one picture of several that is not ready yet."""
    while True:
        try:
            event = next(running)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if isinstance(event, Progress):
            yield replace(event, picture=picture, pictures=pictures)
        elif not isinstance(event, Finished):
            yield event
