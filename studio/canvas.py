"""The canvas: a picture, and the mask or frame that is drawn on it. What it shows follows from a request."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from pipelines.errors import StudioError
from pipelines.painting import Sampled
from pipelines.request import Request, validated
from pipelines.shelf import FolderShelf
from pipelines.tasks.outpaint import Outpaint, sides
from studio.displays import displayed, drawn
from studio.files import thumb
from studio.theme import PAGE, constants, read
from studio.uploads import picture_in

PARTS = ("mask", "png", "view", "tools", "pull", "", "frame", "hands", "desk")
SAMPLES = PAGE.parent / "samples"


def canvas(place: str, selects: bool = False) -> gr.HTML:
    """A canvas. Its value is `seen`, its prop `answer` changes when a wish of it was refused; it sends back:
    brought (a picture: path, sample, or source and mask), masked (path, upload or alpha), framed (sides),
    pointed (x, y, less), arrowed (arrows), placed (to, size), lifted (mask), generate (source, mask, and what is
    pulled)."""
    script = "\n".join(read(f"canvas-{part}.js" if part else "canvas.js") for part in PARTS)
    return gr.HTML(
        {"selects": selects},
        html_template=read("canvas.html"),
        js_on_load=constants(SAMPLES=samples()) + script,
        apply_default_css=False,
        elem_id=f"canvas-{place}",
        answer=0,
    )


def samples() -> list[dict[str, str]]:
    """The pictures to begin with."""
    return [
        {"name": file.stem, "title": file.stem.replace("-", " "), "thumb": thumb(str(file))}
        for file in sorted(SAMPLES.glob("*.png"))
    ]


def sample(name: str) -> Path:
    """The file of one of them. Raises StudioError."""
    file = next((each for each in SAMPLES.glob("*.png") if each.stem == name), None)
    if file is None:
        raise StudioError("There is no such example.")
    return file


def seen(request: Request, shelf: FolderShelf, fresh: int, selects: bool = False) -> dict[str, Any]:
    """What a canvas shows of a request. It takes picture and mask over where they are fresher than the last that it
    took, else what is drawn there is newer."""
    picture = displayed(shelf, getattr(request, "source", ""))
    value: dict[str, Any] = {
        "task": request.task,
        "fresh": fresh,
        "picture": picture,
        "mask": drawn(shelf, getattr(request, "mask", "")),
        "masks": "mask" in type(request).model_fields,
        "sides": None,
        "crop": None,
        "selects": selects,
    }
    if isinstance(request, Outpaint) and picture:
        value["sides"] = list(sides(request, (picture["width"], picture["height"])))
    if picture:
        value["crop"] = crop(request, shelf)
    return value


def crop(request: Request, shelf: FolderShelf) -> dict[str, Any] | None:
    """The part that will be painted, as a box of the picture and in words; None where that cannot be said yet."""
    if not isinstance(request, Sampled) or not hasattr(request, "frame"):
        return None
    heard = {name for name in Sampled.model_fields if name != "model"}
    key = json.dumps({name: value for name, value in request.model_dump(mode="json").items() if name not in heard})
    try:
        return _crop(type(request), key, shelf.folder)
    except (StudioError, OSError):
        return None


@lru_cache(64)
def _crop(kind: type[Request], key: str, folder: Path) -> dict[str, Any]:
    request = validated(kind, json.loads(key))
    frame = request.frame(FolderShelf(folder))
    left, top, right, bottom = frame.box
    wide, high = right - left, bottom - top
    near = abs(frame.scale - 1) < 0.01
    at = f"at {frame.width} × {frame.height}, {frame.scale:.2g} times their own resolution"
    grown = sides(request, _size(request, folder)) if isinstance(request, Outpaint) else (0, 0)
    box = [left - grown[0], top - grown[1], right - grown[0], bottom - grown[1]]
    return {
        "box": box,
        "text": f"Will be painted: {wide} × {high} pixels{', at their own resolution' if near else ', ' + at}.",
    }


def _size(request: Request, folder: Path) -> tuple[int, int]:
    with Image.open(folder / f"{getattr(request, 'source', '')}.png") as picture:
        return picture.size


def mask_of(path: Path, size: tuple[int, int]) -> tuple[Image.Image, str]:
    """A picture file as a mask, mode L, of a size, and what a person should know. White is masked; in a picture that is
    transparent somewhere, what is not. Raises BadPicture."""
    picture, _ = picture_in(path)
    alpha = picture.convert("RGBA").getchannel("A")
    grey = picture.convert("L") if alpha.getextrema() == (255, 255) else alpha
    if grey.size == size:
        return grey, ""
    note = f"The mask was {grey.width} × {grey.height} and was stretched to the picture's {size[0]} × {size[1]}."
    return grey.resize(size, Image.Resampling.BILINEAR), note


def clear_of(picture: Image.Image) -> Image.Image:
    """What is transparent in a picture, as a mask of mode L. Raises StudioError where nothing is."""
    alpha = picture.convert("RGBA").getchannel("A")
    if alpha.getextrema() == (255, 255):
        raise StudioError("Mask: nothing in this picture is transparent.")
    return Image.eval(alpha, lambda level: 255 - level)
