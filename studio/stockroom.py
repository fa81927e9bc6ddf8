"""The Models page: what is where, and what its owner may do about it. On a shared studio, visitors only look."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipelines.errors import StudioError
from pipelines.models import models
from pipelines.models.hub import ID, Offer
from pipelines.models.items import Item
from pipelines.warming import prefetch
from studio.desk import Desk
from studio.downloads import Downloads
from studio.form import QUIET
from studio.holdings import holdings, parts_of
from studio.phrases import size
from studio.theme import read

if TYPE_CHECKING:
    from pipelines.memory import Memory
    from pipelines.parts import Part

ONLY_LOOK = "On a shared studio only its host changes what is here."


class Stockroom:
    """Draws the page and answers it."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.stock, self.runner = desk, desk.stock, desk.runner
        self.downloads = Downloads(self.stock)
        self._offer: Offer | None = None
        self._picked = ""

    def draw(self) -> None:
        """Draw and wire the tab, in the Blocks that are being built."""
        sheet = gr.HTML(
            {"rows": [], "tiers": []},
            html_template=read("models.html"),
            js_on_load=read("models.js"),
            apply_default_css=False,
            elem_id="models",
        )
        outputs = [sheet, self.desk.picker]
        sheet.look(self._look, None, sheet, trigger_mode="multiple", **QUIET)
        sheet.wish(self._wish, self.desk.picker, outputs, trigger_mode="multiple", **QUIET)
        self.desk.picker.input(self._ahead, self.desk.picker, None, **QUIET)
        self.desk.blocks.load(self._returned, self.desk.picker, self.desk.picker, **QUIET)

    def shown(self, note: str = "", bad: bool = False) -> dict[str, Any]:
        """All that the page shows."""
        offered = self._offer
        offer = offered and {
            "name": offered.name,
            "text": f"{size(offered.bytes)} in {len(offered.files)} file{'s' * (len(offered.files) > 1)}",
            "licence": offered.licence,
            "gated": offered.gated,
        }
        now = {
            **holdings(self.stock, self.runner.memory),
            "transfer": self.downloads.shown(),
            "offer": offer,
            "may": not self.desk.shared,
            "offline": self.stock.offline,
        }
        mark = hashlib.sha256(json.dumps(now).encode()).hexdigest()[:16]
        return {**now, "mark": mark, "note": {"text": note, "bad": bad, "at": time.monotonic()} if note else None}

    def _ahead(self, picked: str) -> None:
        """A model was picked: fetch it while its prompt is being written, unless another is picked first."""
        self._picked = picked
        self.runner.chore(prefetch(picked, lambda: self._picked == picked))

    def _look(self, event: gr.EventData) -> Any:
        """What has changed since the page last heard, if anything has."""
        now = self.shown()
        return gr.skip() if event._data.get("mark") == now["mark"] else now

    def _returned(self, picked: str) -> Any:
        """A page comes: the picker offers what is here by now."""
        return self._picker(picked)

    def _wish(self, event: gr.EventData, picked: str) -> list[Any]:
        """Do what the page wants, and show what came of it."""
        said = event._data
        wishes: dict[str, Callable[[str], str]] = {
            "free": self._free, "keep": self._keep, "remove": self._remove, "add": self._add, "offer": self._ask,
            "fetch": self._fetch, "drop": self._drop, "halt": self._halt, "rescan": self._rescan,
        }  # fmt: skip
        try:
            if self.desk.shared:
                raise StudioError(ONLY_LOOK)
            note, bad = wishes[str(said.get("wish"))](str(said.get("name", ""))[:1000].strip()), False
        except KeyError:
            note, bad = "", False
        except StudioError as error:
            note, bad = str(error), True
        return [self.shown(note, bad), self._picker(picked)]

    def _picker(self, picked: str) -> Any:
        names = [(spec.title, name) for name, spec in models.items()]
        here = picked in models
        return gr.update(choices=names, **({} if here else {"value": next(iter(models), None)}))

    def _item(self, name: str) -> Item:
        found = next((each for each in self.stock.known() if each.name == name), None)
        if found is None:
            raise StudioError(f"There is no {name[:80]!r} here any more.")
        return found

    def _free(self, name: str) -> str:
        """Let go of one model's networks, or of all, as soon as no job runs."""
        parts = parts_of(self._item(name)) if name else ()
        if self.runner.memory is not None and (not name or parts):
            self.runner.chore(freeing(*parts))
        return f"{name or 'Everything idle'} leaves memory as soon as no job runs."

    def _keep(self, name: str) -> str:
        memory, parts = self.runner.memory, parts_of(self._item(name))
        if memory is None or not parts:
            raise StudioError("The studio is still starting.")
        kept = not all(memory.keeps(part) for part in parts)
        for part in parts:
            memory.keep(part, kept)
        return f"{name} stays on the device once it is there." if kept else f"{name} may be put away again."

    def _remove(self, name: str) -> str:
        item = self._item(name)
        memory = self.runner.memory
        found = [memory.found_any(part) for part in parts_of(item)] if memory else []
        if any(each.lent for each in found if each):
            raise StudioError(f"A job paints with {name} now; stop it first.")
        self._free(name)
        self.stock.remove(name)
        return f"{name} was removed; {size(item.bytes)} are free on the disk."

    def _add(self, source: str) -> str:
        """A path of this machine is taken in at once; an id of the Hub becomes an offer."""
        if not source:
            raise StudioError("Name a folder or a file of this machine, or an id of the Hub such as owner/name.")
        if ID.fullmatch(source) and not source.startswith((".", "~", "/")):
            return self._ask(source)
        added = self.stock.add(source)
        names = ", ".join(each.name for each in added)
        return f"Added {names}." if names else "Nothing there is new; what cannot be used is listed with a reason."

    def _ask(self, name: str) -> str:
        self._offer = self.stock.offer(name)
        return ""

    def _fetch(self, _: str) -> str:
        if self._offer is None:
            raise StudioError("Say what to download first.")
        self.downloads.begin(self._offer)
        self._offer = None
        return ""

    def _drop(self, _: str) -> str:
        self._offer = None
        return ""

    def _halt(self, _: str) -> str:
        self.downloads.stop()
        return ""

    def _rescan(self, _: str) -> str:
        refused = self.stock.rescan()
        left = f" {len(refused)} could not be used; the reasons are below." if refused else ""
        return f"The folders were looked through again.{left}"


def freeing(*parts: Part) -> Callable[[Memory], None]:
    """A chore that lets go of some networks, or of all that are idle."""

    def work(memory: Memory) -> None:
        memory.free(*parts)

    return work
