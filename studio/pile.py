"""A pile: the pictures that one request is about, brought by file, folder, drop, paste, or from a result."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines.errors import StudioError
from pipelines.request import Request
from pipelines.runner import Runner
from pipelines.shelf import FolderShelf
from pipelines.tasks.upscale import MOST, Upscale
from studio.board import Board, Changes, brought
from studio.canvas import samples
from studio.displays import thumbnail
from studio.theme import constants, read

REMEMBERED = 2000  # names of files


class Pile(Board):
    """The pile of one tab, in the place of a canvas. Its value is `seen`; it sends back: brought (files or a sample),
    removed (a name, or none for all), generate (held). Each says what it holds."""

    hears = ("brought", "removed")
    compares = True

    def __init__(self, place: str, runner: Runner) -> None:
        super().__init__(place, runner)
        self._titles: OrderedDict[tuple[Path, str], str] = OrderedDict()  # what files were called, as far as known

    def draw(self) -> None:
        """Draw it, in the Blocks that are being built."""
        self.sheet = gr.HTML(
            {"pictures": []},
            html_template=read("pile.html"),
            js_on_load=constants(SAMPLES=samples(), MOST=MOST) + read("pile.js"),
            apply_default_css=False,
            elem_id=f"pile-{self.place}",
            answer=0,
            note="",
        )

    def seen(self, request: Request, shelf: FolderShelf, fresh: int) -> dict[str, Any]:
        """What the pile shows of a request: each picture that is there, and what will become of it."""
        names = [request.source, *request.more] if isinstance(request, Upscale) and request.source else []
        cards = [self._card(request, shelf, name) for name in names]
        return {"pictures": [card for card in cards if card], "fresh": fresh}

    def named(self, words: dict[str, Any]) -> Changes:
        """The pictures that the pile holds, as fields of the request."""
        return _held(_names(words)) if "held" in words else {}

    def taken(self, name: str) -> Changes:
        """A picture was sent here from a result: it alone."""
        return _held([name])

    def brought(self, said: dict[str, Any], shelf: FolderShelf, request: Request) -> tuple[Changes, str]:
        """Pictures came. Those that cannot be read are named, and the others are taken. Raises StudioError."""
        held, notes, files = _names(said), [], said.get("files")
        files = files if isinstance(files, list) else [said]
        for each in files[: MOST - len(held)]:
            title = str(each.get("name") or each.get("sample") or "The picture")[:80]
            try:
                picture, note = brought(each)
                name = shelf.put(picture)
            except StudioError as error:
                notes.append(f"{title}: {error}")
                continue
            held += [name] if name not in held else []
            self._remember(shelf, name, title)
            notes += [f"{title}: {note}"] if note else []
        if len(files) > MOST - len(_names(said)):
            notes.append(f"No more than {MOST} pictures are taken at a time.")
        if len(held) == len(_names(said)) and notes:
            raise StudioError(" ".join(notes))
        return _held(held), " ".join(notes)

    def removed(self, said: dict[str, Any], shelf: FolderShelf, request: Request) -> tuple[Changes, str]:
        """One picture was taken out, or all of them."""
        gone = said.get("name")
        return _held([name for name in _names(said) if gone and name != gone]), ""

    def _card(self, request: Request, shelf: FolderShelf, name: str) -> dict[str, Any] | None:
        try:
            width, height = shelf.size(name)
            card = {"name": name, "url": thumbnail(shelf, name), "width": width, "height": height}
        except (StudioError, OSError):
            return None
        card["title"] = self._titles.get((shelf.folder, name), "")
        try:
            card["becomes"] = list(request.wanted((width, height)))  # type: ignore[attr-defined]
        except StudioError as error:
            card["refused"] = str(error)
        return card

    def _remember(self, shelf: FolderShelf, name: str, title: str) -> None:
        self._titles[shelf.folder, name] = title
        while len(self._titles) > REMEMBERED:
            self._titles.popitem(last=False)


def _names(said: dict[str, Any]) -> list[str]:
    held = said.get("held")
    return [str(name)[:32] for name in held] if isinstance(held, list) else []


def _held(names: Sequence[str]) -> Changes:
    return {"source": names[0] if names else "", "more": tuple(names[1:])}
