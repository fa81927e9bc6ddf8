"""A canvas at work: what comes from it becomes fields of the request, and pictures on the shelf of who sent them."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import gradio as gr
from PIL import Image

from pipelines.errors import BadPicture, BadRequest
from pipelines.request import Request
from pipelines.runner import Runner
from pipelines.shelf import FolderShelf
from studio.canvas import canvas, clear_of, mask_of, sample, seen
from studio.desk import PICTURES
from studio.pointing import Sight, joined
from studio.uploads import picture_in, read_once

LARGEST_UPLOAD = 64 * 2**20  # bytes; what layout.launch allows
Changes = dict[str, Any]


def brought(said: dict[str, Any]) -> tuple[Image.Image, str]:
    """The example or upload that a page names, and what a person should know of it. Raises StudioError."""
    if said.get("sample"):
        return picture_in(sample(str(said["sample"])))
    if int(said.get("size") or 0) > LARGEST_UPLOAD:
        raise BadPicture(f"Picture: the file is larger than the {LARGEST_UPLOAD // 2**20} MB that the studio takes.")
    return read_once(str(said.get("path", "")), picture_in)


class Board:
    """The canvas of one tab. Each answer is the fields that change, and a sentence for the person."""

    hears: ClassVar[tuple[str, ...]] = ("brought", "masked", "framed", "pointed")  # events, by the name of the answer
    compares: ClassVar[bool] = False  # whether a result is shown beside what it began with

    goes_on: ClassVar[bool] = False  # whether a result becomes the next picture

    def __init__(self, place: str, runner: Runner) -> None:
        self.place, self.sight = place, Sight(runner)

    def draw(self) -> None:
        """Draw it, in the Blocks that are being built."""
        self.sheet = canvas(self.place)

    def seen(self, request: Request, shelf: FolderShelf, fresh: int) -> dict[str, Any]:
        """What the canvas shows of a request."""
        return seen(request, shelf, fresh, selects=True)

    def refused(self, error: str) -> Any:
        """An answer that changes nothing but says why."""
        return gr.update(answer=time.time_ns(), note=error)

    def named(self, words: dict[str, Any]) -> Changes:
        """The pictures that the canvas says it shows, as fields of the request."""
        return {name: str(words[name] or "")[:32] for name in PICTURES if name in words}

    def taken(self, name: str) -> Changes:
        """A picture was sent here from a result."""
        return {"source": name, "mask": ""}

    def brought(self, said: dict[str, Any], shelf: FolderShelf, request: Request) -> tuple[Changes, str]:
        """A picture came: an upload, an example, or one that was here before. Raises StudioError."""
        if said.get("source"):
            names = {name: str(said.get(name) or "")[:32] for name in ("source", "mask")}
            shelf.open(names["source"])
            return names, ""
        picture, note = brought(said)
        return {"source": shelf.put(picture), "mask": ""}, note

    def masked(self, said: dict[str, Any], shelf: FolderShelf, request: Request) -> tuple[Changes, str]:
        """A mask came: drawn, uploaded, or from what is transparent. Raises StudioError."""
        source = getattr(request, "source", "")
        if not source:
            raise BadRequest("Mask: bring a picture first.")
        if said.get("alpha"):
            return {"mask": shelf.put(clear_of(shelf.open(source)))}, ""
        if said.get("upload"):
            size = shelf.open(source).size
            mask, note = read_once(str(said["upload"]), lambda file: mask_of(file, size))
            return {"mask": shelf.put(mask)}, note
        if not said.get("path"):
            return {"mask": ""}, ""
        drawn, _ = read_once(str(said["path"]), picture_in)
        return {"mask": shelf.put(drawn.convert("L"))}, ""

    def pointed(self, said: dict[str, Any], shelf: FolderShelf, request: Request) -> tuple[Changes, str]:
        """A place was pointed at: the thing there joins the mask, or leaves it. Raises StudioError."""
        source, model = getattr(request, "source", ""), str(getattr(request, "model", ""))
        thing = self.sight.thing(shelf, source, model, int(said.get("x") or 0), int(said.get("y") or 0))
        drawn = str(said.get("mask") or "")[:32]
        before = shelf.open(drawn).convert("L").resize(thing.size) if drawn else None
        return {"mask": shelf.put(joined(before, thing, bool(said.get("less"))))}, ""

    def framed(self, said: dict[str, Any], shelf: FolderShelf, request: Request) -> tuple[Changes, str]:
        """The sides of the frame were dragged; a shape that was asked for no longer holds. Raises BadRequest."""
        sides = said.get("sides")
        if not isinstance(sides, list) or len(sides) != 4:
            raise BadRequest("Left, top, right, bottom: the frame did not arrive; drag it once more.")
        return {**dict(zip(("left", "top", "right", "bottom"), sides, strict=True)), "shape": "as it is"}, ""
