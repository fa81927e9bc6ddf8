"""The tray: the pictures of the subject that a model is to learn. They lie on the shelf of who brought them; which they
are is remembered by the server, so that a page that comes back finds them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from pipelines.errors import BadPicture
from pipelines.library import Library
from pipelines.shelf import FolderShelf
from pipelines.subjects import MOST, gathered, review, seen
from studio.files import thumb
from studio.theme import read
from studio.uploads import picture_in, read_once, uploaded

if TYPE_CHECKING:
    from pipelines.subjects import Seen

MEMO = "tray"  # what the library remembers the pictures under
LONGEST = 80  # characters of a file's name
LARGEST = 64 * 2**20  # bytes of an upload; what layout.launch allows
Held = list[tuple[str, str]]  # shelf name and file name of each picture, in order


def tray() -> gr.HTML:
    """What pictures are dropped on. Its value is `Tray.shown`; it sends back look (it is there), brought (files) and
    removed (one, or all)."""
    return gr.HTML(
        {"pictures": []},
        html_template=read("tray.html"),
        js_on_load=read("tray.js"),
        apply_default_css=False,
        elem_id="tray",
        most=MOST,
    )


class Tray:
    """The pictures that each owner has brought."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._lock = threading.Lock()  # two pages of one owner may bring pictures at once

    def held(self, owner: str) -> Held:
        """Shelf name and file name of each picture that is still on the shelf, in the order they came."""
        shelf = self.library.shelf(owner)
        pairs = self.library.recall(owner, MEMO).get("pictures", [])
        return [(name, label) for name, label in pairs if _path(shelf, name).exists()]

    def names(self, owner: str) -> tuple[str, ...]:
        """The shelf names alone, as a request holds them."""
        return tuple(name for name, _ in self.held(owner))

    def bring(self, owner: str, said: dict[str, Any]) -> list[str]:
        """Take in what a page has uploaded; returns a sentence for each file that was left out. Raises StudioError."""
        files = [each for each in said.get("files") or [] if isinstance(each, dict)]
        beyond = said.get("beyond")
        try:
            with self._lock:
                held, shelf = self.held(owner), self.library.shelf(owner)
                known = [(label, looked_at(str(_path(shelf, name)))) for name, label in held]
                got = gathered([_source(each) for each in files[:MOST]], known)
                held += [(shelf.put(picture), label) for label, picture in got.pictures]
                self.library.remember(owner, MEMO, {"pictures": [list(each) for each in held]})
        finally:
            _clear(files)
        more = beyond if isinstance(beyond, int) and beyond > 0 else 0
        return [*got.left_out, *([f"{MOST} pictures are the most; {more} more were left out."] if more else [])]

    def remove(self, owner: str, name: str) -> None:
        """Take one picture away, or all where no name is given."""
        with self._lock:
            left = [[each, label] for each, label in self.held(owner) if name and each != name]
            self.library.remember(owner, MEMO, {"pictures": left})

    def shown(self, owner: str, side: int, left_out: Sequence[str] = ()) -> dict[str, Any]:
        """Every picture small, with what a person should know of it; and of all of them together."""
        shelf, held = self.library.shelf(owner), self.held(owner)
        paths = {name: str(_path(shelf, name)) for name, _ in held}
        doubts = review({name: looked_at(path) for name, path in paths.items()}, side)
        pictures = [
            {"name": name, "label": label, "thumb": thumb(paths[name]), "doubts": list(doubts.each[name])}
            for name, label in held
        ]
        return {"pictures": pictures, "together": list(doubts.together), "left_out": list(left_out)}


@lru_cache(512)
def looked_at(path: str) -> Seen:
    """What a review has to know of a square in a file; a shelf's file never changes."""
    with Image.open(path) as picture:
        return seen(picture.convert("RGB"))


def _source(said: dict[str, Any]) -> tuple[str, Callable[[], Image.Image]]:
    label = str(said.get("name") or "A picture")[:LONGEST]
    if int(said.get("size") or 0) > LARGEST:
        return label, _too_large
    return label, partial(_opened, str(said.get("path") or ""))


def _opened(path: str) -> Image.Image:
    return read_once(path, picture_in)[0]


def _too_large() -> Image.Image:
    raise BadPicture(f"The file is larger than the {LARGEST // 2**20} MB that the studio takes.")


def _clear(files: Sequence[dict[str, Any]]) -> None:
    """Delete uploads that nobody opened."""
    for each in files:
        try:
            uploaded(str(each.get("path") or "")).unlink(missing_ok=True)
        except BadPicture:
            continue


def _path(shelf: FolderShelf, name: str) -> Path:
    return shelf.folder / f"{name}.png"
