"""The adapters that somebody taught: listed, used in Create, carried away and brought back, removed."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipelines.adapters import calmed
from pipelines.errors import BadPicture, StudioError
from pipelines.models import models
from pipelines.models.adapters import adapters
from pipelines.personalizers import personalizers
from pipelines.tasks.text_to_image import TextToImage
from studio.desk import Desk
from studio.files import address
from studio.form import QUIET, title
from studio.presets import fitted
from studio.security import owner_of
from studio.uploads import read_once

if TYPE_CHECKING:
    from pipelines.exchange import Layout
    from pipelines.library.adapters import Adapter

THUMBNAIL = "modelspec.thumbnail"  # of a file's metadata: a picture as a data URI
KINDS: tuple[Layout, ...] = ("diffusers", "kohya")  # how an adapter leaves
CREATE = "Create"
LONGEST = 60  # characters of a name
Said = dict[str, Any]


class Portfolio:
    """What a page sees of the adapters of whoever looks, and what they may do with one."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.library = desk, desk.library

    def wire(self, sheet: gr.HTML) -> None:
        """Wire the sheet that lists them: it sends back use (by name), export, remove (by id) and take (an upload)."""
        many: dict[str, Any] = {"trigger_mode": "multiple", **QUIET}
        sheet.export(self.export, None, sheet, **many)
        sheet.remove(self.remove, None, sheet, **many)
        sheet.take(self.take, None, sheet, **many)
        if CREATE in self.desk.fillers:
            sheet.use(self.use, None, self.desk.fillers[CREATE].outputs, **many)

    def marks(self, owner: str) -> list[str]:
        """A value that changes exactly when others are there."""
        return [f"{each.id} {each.name in adapters}" for each in self.library.adapters.all(owner)]

    def shown(self, owner: str) -> list[Said]:
        """The adapters of an owner as the page lists them, the newest first."""
        return [row(each) for each in sorted(self.library.adapters.all(owner), key=lambda each: -each.made)]

    def use(self, who: gr.Request, event: gr.EventData) -> list[Any]:
        """Fill the form of Create with an adapter: its word in the prompt, itself among the adapters, and guidance that
        pictures of a taught subject stand."""
        filler = self.desk.fillers[CREATE]
        kept = self._one(who, "name", event)
        if kept is None or kept.name not in adapters:
            return [gr.skip() for _ in filler.outputs]
        before = self.desk.recall(TextToImage, who, CREATE)
        model = kept.base if kept.base in models else getattr(before, "model", self.desk.picker.value)
        recipe: Said = (before or fitted(TextToImage(), models[model])).model_dump(mode="json")
        others = [each for each in recipe.get("adapters", []) if each["name"] != kept.name]
        recipe |= {
            "prompt": f"a {adapters[kept.name].phrase or kept.name}",
            "adapters": [*others, {"name": kept.name, "weight": 1.0}],
            "model": model,
            "seed": None,
        }
        return filler.reused(gr.EventData(None, {"recipe": calmed(recipe, models[model])}), who)

    def export(self, who: gr.Request, event: gr.EventData) -> Any:
        """Write an adapter as another tool reads it, and name the file to the page."""
        from pipelines.exchange import exported
        from pipelines.exports import placed

        kept, wanted = self._one(who, "id", event), (event._data or {}).get("kind")
        kind = next((each for each in KINDS if each == wanted), None)
        try:
            if kept is None or kept.name not in adapters or kind is None:
                raise StudioError("This adapter is no longer here.")
            name = f"{kept.name}-{kind}.safetensors"
            path = placed(exported(adapters[kept.name], kind), self.library.exports, name)
        except StudioError as error:
            return gr.update(told=told(str(error), bad=True))
        return gr.update(told={**told(""), "url": address(str(path)), "name": path.name})

    def take(self, who: gr.Request, event: gr.EventData) -> Any:
        """Take in an adapter's file that somebody uploaded."""
        from pipelines.exchange import taken_in

        owner, said = owner_of(who, self.desk.shared), event._data or {}
        called = PurePath(str(said.get("name") or "")).stem[:LONGEST]
        try:
            workshop = self.library.shelf(owner).workshop()
            spec = read_once(str(said.get("path") or ""), lambda file: taken_in(file, workshop, called))
        except BadPicture:
            return gr.update(told=told("The adapter did not arrive; bring it once more.", bad=True))
        except StudioError as error:
            return gr.update(told=told(str(error), bad=True))
        return gr.update(told=told(f"{spec.name} is here."), taught=self.shown(owner))

    def remove(self, who: gr.Request, event: gr.EventData) -> Any:
        """Delete an adapter for good."""
        kept, owner = self._one(who, "id", event), owner_of(who, self.desk.shared)
        if kept is None:
            return gr.update(told=told("This adapter is no longer here.", bad=True))
        self.library.adapters.erase(owner, kept.id)
        return gr.update(told=told(f"{kept.name} was removed."), taught=self.shown(owner))

    def _one(self, who: gr.Request, field: str, event: gr.EventData) -> Adapter | None:
        """The adapter that an event names, if it belongs to who asks."""
        wanted = str((event._data or {}).get(field))
        kept = self.library.adapters.all(owner_of(who, self.desk.shared))
        return next((each for each in kept if getattr(each, field) == wanted), None)


def row(kept: Adapter) -> Said:
    """One adapter as the page lists it, by what its file says of itself."""
    spec = next((each for name, each in adapters.items() if name == kept.name), None)
    ours, notes = (spec.ours, spec.notes) if spec else ({}, {})
    picture = notes.get(THUMBNAIL, "")
    method = ours.get("method")
    facts = [
        str(ours.get("kind") or ""),
        f"for {kept.base}" if kept.base else "",
        method_of(str(method.get("name"))) if isinstance(method, dict) else "",
        f"{ours['steps']} steps" if ours.get("steps") else "",
        datetime.fromtimestamp(kept.made).strftime("%Y-%m-%d %H:%M"),
    ]
    return {
        "id": kept.id,
        "name": kept.name,
        "thumb": picture if picture.startswith("data:image/") else "",
        "facts": [each for each in facts if each],
        "use": spec is not None,
    }


def method_of(name: str) -> str:
    """A way to personalize as people write it; what a file names may not be here."""
    return next((each.title for known, each in personalizers.items() if known == name), "") or title(name)


def told(text: str, bad: bool = False) -> Said:
    """A sentence above the list; each one is another."""
    return {"text": text, "bad": bad, "at": time.monotonic()}
