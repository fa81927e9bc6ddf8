"""A canvas on which things are pulled: its arrows, and the thing that is carried, become fields of the request."""

from __future__ import annotations

from typing import Any, ClassVar

from pipelines.errors import BadRequest
from pipelines.request import Request
from pipelines.shelf import FolderShelf
from pipelines.tasks.appearance import Appearance
from pipelines.tasks.drag import Drag
from pipelines.tasks.move import Move
from studio.board import Board, Changes
from studio.canvas import seen
from studio.displays import displayed, drawn

AFRESH: Changes = {"mask": "", "arrows": "", "things": "", "to": "", "size": 1.0, "other": "", "gesture": "move"}
PLACE = {"to": "", "size": 1.0}  # of a thing that nobody has pulled yet
REFERENCE = "Taken as reference. Now select what should look like it, here or in another picture."
FIELDS = ("source", "mask", "arrows", "things", "to", "size")  # what the canvas names when the work begins


class Puller(Board):
    """The canvas of dragging, moving and likening. A picture that comes takes the place of all that was drawn, but for
    what was taken along to be pasted, or as a reference."""

    hears: ClassVar[tuple[str, ...]] = (*Board.hears, "arrowed", "placed", "lifted")
    goes_on: ClassVar[bool] = True

    def seen(self, request: Request, shelf: FolderShelf, fresh: int) -> dict[str, Any]:
        """What the canvas shows of a request."""
        value = seen(request, shelf, fresh, selects=True)
        if isinstance(request, Drag):
            return value | {"pulls": "arrows", "arrows": request.arrows}
        if isinstance(request, Appearance):
            return value | {"pulls": "look", "other": part_of(shelf, request.other, request.look)}
        if not isinstance(request, Move):
            return value
        other = part_of(shelf, request.other, request.mask) if pastes(request) else None
        if other:
            value["masks"] = False
        return value | {
            "pulls": "thing", "gesture": request.gesture if other else "move", "other": other,
            "to": request.to.replace(" ", ""), "size": request.size,
        }  # fmt: skip

    def named(self, words: dict[str, Any]) -> Changes:
        """What the canvas shows, as fields of the request; a mask of another picture is none that it shows."""
        return {name: words[name] if name == "size" else str(words[name] or "") for name in FIELDS if name in words}

    def taken(self, name: str) -> Changes:
        """A picture was sent here from a result: the next drag goes on from it."""
        return {"source": name, **AFRESH}

    def brought(self, said: dict[str, Any], shelf: FolderShelf, request: Request) -> tuple[Changes, str]:
        """A picture came. Raises StudioError."""
        changes, note = super().brought(said, shelf, request)
        if isinstance(request, Appearance):
            return changes, note
        if pastes(request):
            return {"source": changes["source"], **PLACE}, note
        return {**AFRESH, **changes, "arrows": str(said.get("arrows") or "")}, note

    def pointed(self, said: dict[str, Any], shelf: FolderShelf, request: Request) -> tuple[Changes, str]:
        """A place was pointed at: the thing there is what is pulled, or may change. Raises StudioError."""
        changes, note = super().pointed(said, shelf, request)
        return {**changes, **(PLACE if isinstance(request, Move) and not said.get("mask") else {})}, note

    def arrowed(self, said: dict[str, Any], shelf: FolderShelf, request: Request) -> tuple[Changes, str]:
        """Arrows were drawn; what the last ones began on is looked for anew."""
        return {"arrows": str(said.get("arrows") or ""), "things": ""}, ""

    def placed(self, said: dict[str, Any], shelf: FolderShelf, request: Request) -> tuple[Changes, str]:
        """The thing was pulled, or made larger or smaller."""
        return {"to": str(said.get("to") or ""), "size": said.get("size") or 1.0}, ""

    def lifted(self, said: dict[str, Any], shelf: FolderShelf, request: Request) -> tuple[Changes, str]:
        """The thing is taken along, to be pasted into the picture that comes next, or to show how something should
        look. Raises BadRequest."""
        mask = str(said.get("mask") or "")[:32]
        if isinstance(request, Appearance) and request.source and mask:
            return {"other": request.source, "look": mask, "mask": ""}, REFERENCE
        if not (isinstance(request, Move) and request.source and mask):
            raise BadRequest("Thing: point at what should be taken along first.")
        changes = {"other": request.source, "mask": mask, "source": "", "gesture": "paste", **PLACE}
        return changes, "Taken along. Now bring the picture it belongs into."


def part_of(shelf: FolderShelf, name: str, mask: str) -> dict[str, Any] | None:
    """A picture on the shelf with a mask of it, as a canvas shows them; None where it is not there."""
    other, shape = displayed(shelf, name) if name else None, drawn(shelf, mask)
    return {**other, "mask": shape["url"] if shape else ""} if other else None


def pastes(request: Request) -> bool:
    """Whether a request puts a thing of another picture into its own."""
    return isinstance(request, Move) and request.gesture == "paste" and bool(request.other)
