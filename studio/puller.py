"""A canvas on which things are pulled: its arrows, and the thing that is carried, become fields of the request."""

from __future__ import annotations

from typing import Any, ClassVar

from pipelines.errors import BadRequest
from pipelines.request import Request
from pipelines.shelf import FolderShelf
from pipelines.tasks.drag import Drag
from pipelines.tasks.move import Move
from studio.board import Board, Changes
from studio.canvas import seen
from studio.displays import displayed, drawn

AFRESH: Changes = {"mask": "", "arrows": "", "things": "", "to": "", "size": 1.0, "other": "", "gesture": "move"}
PLACE = {"to": "", "size": 1.0}  # of a thing that nobody has pulled yet
FIELDS = ("source", "mask", "arrows", "things", "to", "size")  # what the canvas names when the work begins


class Puller(Board):
    """The canvas of dragging and moving. A picture that comes takes the place of all that was drawn, but for a thing
    that was taken along to be pasted."""

    hears: ClassVar[tuple[str, ...]] = (*Board.hears, "arrowed", "placed", "lifted")
    goes_on: ClassVar[bool] = True

    def seen(self, request: Request, shelf: FolderShelf, fresh: int) -> dict[str, Any]:
        """What the canvas shows of a request."""
        value = seen(request, shelf, fresh, selects=True)
        if isinstance(request, Drag):
            return value | {"pulls": "arrows", "arrows": request.arrows}
        if not isinstance(request, Move):
            return value
        other = displayed(shelf, request.other) if pastes(request) else None
        mask = drawn(shelf, request.mask) if other else None
        if other:
            other, value["masks"] = {**other, "mask": mask["url"] if mask else ""}, False
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
        """The thing is taken along, to be pasted into the picture that comes next. Raises BadRequest."""
        mask = str(said.get("mask") or "")[:32]
        if not (isinstance(request, Move) and request.source and mask):
            raise BadRequest("Thing: point at what should be taken along first.")
        changes = {"other": request.source, "mask": mask, "source": "", "gesture": "paste", **PLACE}
        return changes, "Taken along. Now bring the picture it belongs into."


def pastes(request: Request) -> bool:
    """Whether a request puts a thing of another picture into its own."""
    return isinstance(request, Move) and request.gesture == "paste" and bool(request.other)
