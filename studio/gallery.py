"""The gallery's events: what a page wants to see or to have done, answered for whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipelines.errors import StudioError
from pipelines.tasks import parse
from studio.albums import chosen, large, page
from studio.desk import Desk
from studio.files import address
from studio.form import QUIET
from studio.security import owner_of
from studio.theme import read

if TYPE_CHECKING:
    from pipelines.library.album import Kept

Said = dict[str, Any]


class Gallery:
    """One sheet that shows the album of whoever looks. Its value is `albums.page`, its prop `opened` `albums.large`,
    its prop `told` a sentence or a file to fetch; it sends back look, open, wish, again, export and replay."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.library = desk, desk.library

    def draw(self) -> None:
        """Draw and wire it, in the Blocks that are being built."""
        self.sheet = gr.HTML(
            {"pictures": []},
            html_template=read("gallery.html"),
            js_on_load=read("gallery.js"),
            apply_default_css=False,
            elem_id="gallery",
            opened={},
            told={},
            targets=[],
            places={},
        )
        events: dict[str, Callable[..., Any]] = {
            "look": self._look,
            "open": self._open,
            "wish": self._wish,
            "again": self._again,
            "export": self._export,
            "replay": self._replay,
        }
        for name, answer in events.items():
            getattr(self.sheet, name)(answer, None, self.sheet, trigger_mode="multiple", **QUIET)
        self.desk.senders.append(self.sheet)
        self.desk.refillers.append(self.sheet)

    def _look(self, who: gr.Request, event: gr.EventData) -> Any:
        return self._answered(lambda: {"value": page(self.library, self._owner(who), event._data)})

    def _open(self, who: gr.Request, event: gr.EventData) -> Any:
        opened = large(self.library, self._owner(who), str(event._data.get("id")))
        return gr.update(opened={**opened, "asked": event._data.get("asked")})

    def _wish(self, who: gr.Request, event: gr.EventData) -> Any:
        """Have pictures marked, binned, restored or deleted; the page it was asked from comes back as it is then."""
        from pipelines.library.album import Wanted

        owner, said, album = self._owner(who), event._data, self.library.album
        ids = chosen(said)
        wishes: dict[str, Callable[[], int]] = {
            "favour": lambda: album.favour(owner, ids),
            "disfavour": lambda: album.favour(owner, ids, on=False),
            "bin": lambda: album.bin(owner, ids),
            "restore": lambda: album.restore(owner, ids),
            "erase": lambda: self.library.erase(owner, ids),
            "empty": lambda: self.library.erase(owner, album.ids(owner, Wanted(binned=True))),
        }
        wish = wishes.get(str(said.get("wish")))

        def done() -> dict[str, Any]:
            count = wish() if wish else 0
            return {
                "value": page(self.library, owner, said),
                "told": told(told_of(str(said.get("wish")), count), said),
            }

        return self._answered(done)

    def _again(self, who: gr.Request, event: gr.EventData) -> Any:
        """Put the request of a picture in line: the same, or with a seed that is drawn afresh."""

        def done() -> dict[str, Any]:
            request = parse(self._one(who, event._data).request)
            fresh = event._data.get("fresh") is True
            self.desk.submit(request.model_copy(update={"seed": None}) if fresh else request, who)
            return {"told": told("It is in line.", event._data)}

        return self._answered(done)

    def _export(self, who: gr.Request, event: gr.EventData) -> Any:
        """Put what is chosen into one file, and name it to the page."""
        from pipelines.exports import ENDINGS, Outgoing, alone, sheet, zipped

        said = event._data
        kind = said.get("kind") if said.get("kind") in ENDINGS else "png"
        how = Outgoing(
            kind,  # type: ignore[arg-type]
            stripped=said.get("stripped") is True,
            marked=self.library.marks != "off",
            credentials=self.library.credentials,
            album=self.library.album,
        )

        def done() -> dict[str, Any]:
            found = self.library.album.some(self._owner(who), chosen(said))
            if not found:
                raise StudioError("These pictures are no longer here.")
            if said.get("as") == "sheet":
                path = sheet(found, self.library.exports)
            elif len(found) == 1:
                path = alone(found[0], how, self.library.exports)
            else:
                path = zipped(found, how, self.library.exports)
            return {"told": {**told("", said), "url": address(str(path)), "name": path.name}}

        return self._answered(done)

    async def _replay(self, who: gr.Request, event: gr.EventData) -> Any:
        """Paint a picture once more, on the device's own thread, and say whether it is the same."""
        from pipelines.replay import compared, replayed

        try:
            kept = self._one(who, event._data)
            done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self.desk.runner.chore(replayed(kept, self.library, done.get_loop(), done))
            words = await asyncio.wait_for(done, 600)
        except StudioError as error:
            words = str(error)
        except TimeoutError:
            words = "The replay took longer than ten minutes and was given up."
        text = words if isinstance(words, str) else compared(words)
        return gr.update(told={**told(text, event._data), "replay": text})

    def _answered(self, answer: Callable[[], dict[str, Any]]) -> Any:
        try:
            return gr.update(**answer())
        except StudioError as error:
            return gr.update(told=told(str(error), {}, wrong=True))

    def _one(self, who: gr.Request, said: Said) -> Kept:
        kept = self.library.album.get(self._owner(who), str(said.get("id")))
        if kept is None:
            raise StudioError("This picture is no longer here.")
        return kept

    def _owner(self, who: gr.Request) -> str:
        return owner_of(who, self.desk.shared)


def told(text: str, said: Said, wrong: bool = False) -> dict[str, Any]:
    """A sentence for the line above the grid; `asked` makes each one another."""
    return {"text": text, "wrong": wrong, "asked": said.get("asked")}


def told_of(wish: str, count: int) -> str:
    """What was done, in words."""
    pictures = "1 picture" if count == 1 else f"{count} pictures"
    words = {
        "bin": f"{pictures} in the bin.",
        "restore": f"{pictures} back.",
        "erase": f"{pictures} deleted for good.",
        "empty": f"The bin is empty; {pictures} deleted for good.",
    }
    return words.get(wish, "")
