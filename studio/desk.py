"""What every tab needs: who paints, what is kept, whose it is, and the parts of the page that all tabs share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from pipelines.errors import Busy, StudioError
from pipelines.job import Job
from pipelines.library import Library
from pipelines.request import Request, validated
from pipelines.runner import Runner
from pipelines.shelf import FolderShelf
from pipelines.stock import Stock
from studio.security import owner_of
from studio.sending import Filler, Target

PICTURES = ("source", "mask", "more")  # fields that name pictures of a canvas or pile
FAIR = 4  # jobs in line that one person may have on a shared studio


@dataclass(frozen=True)
class Desk:
    """Handed to each tab as it is drawn."""

    runner: Runner
    library: Library
    shared: bool
    blocks: gr.Blocks
    picker: gr.Dropdown
    gauge: gr.HTML
    stock: Stock
    targets: dict[str, Target] = field(default_factory=dict)  # tabs that take a picture, by name
    senders: list[gr.HTML] = field(default_factory=list)  # viewers, which send to them
    fillers: dict[str, Filler] = field(default_factory=dict)  # tabs with a form, by name
    refillers: list[gr.HTML] = field(default_factory=list)  # what brings settings back to them

    def shelf(self, who: gr.Request) -> FolderShelf:
        """The pictures that the requests of whoever asks may name."""
        return self.library.shelf(owner_of(who, self.shared))

    def remember(self, request: Request, who: gr.Request, place: str, meant: bool = False) -> None:
        """Keep the settings of whoever asks, and the mode and pictures of the tab, for their next page. Where they are
        `meant` for the canvas, and not from it, they are newer than all that it was told."""
        owner = owner_of(who, self.shared)
        self.library.remember(owner, request.task, request.model_dump(mode="json"))
        tab = self.library.recall(owner, f"tab {place}")
        held = {name: getattr(request, name) for name in PICTURES if hasattr(request, name)}
        if held.get("source") != tab.get("source"):
            held = {"mask": "", **held}  # a mask belongs to its picture
        if meant:
            held["fresh"] = time.time_ns() // 1_000_000
        self.library.remember(owner, f"tab {place}", {**tab, **held, "task": request.task})
        self.library.remember(owner, "header", {"model": getattr(request, "model", "")})

    def pictures(self, form: type[Request], who: gr.Request, place: str) -> dict[str, Any]:
        """The pictures that a tab held last, of those that a request type has fields for. They are one a tab: its modes
        share them, and what a page sends with its other settings may be older."""
        tab = self.library.recall(owner_of(who, self.shared), f"tab {place}")
        return {name: tab[name] for name in PICTURES if name in tab and name in form.model_fields}

    def freshness(self, who: gr.Request, place: str) -> int:
        """When the pictures of a tab were last changed from outside of its canvas; it only grows."""
        return int(self.library.recall(owner_of(who, self.shared), f"tab {place}").get("fresh", 1))

    def recall(self, form: type[Request], who: gr.Request, place: str) -> Request | None:
        """The settings that whoever asks left behind; None where there are none that still hold."""
        owner = owner_of(who, self.shared)
        kept: dict[str, Any] = self.library.recall(owner, form.model_fields["task"].default)
        header = self.library.recall(owner, "header") if "model" in kept else {}  # one model for all tabs
        try:
            return validated(form, {**kept, **header, **self.pictures(form, who, place)}) if kept else None  # type: ignore[no-any-return]
        except StudioError:
            return None

    def recall_mode(self, place: str, who: gr.Request) -> str:
        """The task that a tab was set to; empty where nobody knows."""
        return str(self.library.recall(owner_of(who, self.shared), f"tab {place}").get("task", ""))

    def submit(self, request: Request, who: gr.Request) -> Job:
        """Put a request in line for whoever asks. Raises Busy, on a shared studio also where one fills the line."""
        owner = owner_of(who, self.shared)
        unfinished = [job for job in self.runner.jobs(owner) if job.ending is None]
        if self.shared and len(unfinished) >= FAIR:
            raise Busy(f"You have {FAIR} jobs in line; others wait, too. Try again when one is done.")
        return self.runner.submit(request, owner)
