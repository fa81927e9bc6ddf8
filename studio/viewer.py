"""The stage: preview, status, result, film strip and recipe. The one place that follows jobs for a page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import gradio as gr

from pipelines.job import Job
from pipelines.library import Library
from pipelines.runner import Runner
from studio.form import QUIET
from studio.gauge import level
from studio.lookouts import BEAT, LINE, Lookouts
from studio.security import owner_of
from studio.theme import read
from studio.views import film, marks, moment

PAUSE, REST = 0.05, 0.25  # seconds between two looks at a job that runs, and at none
GRACE = 60.0  # seconds that a job on a shared host outlives its last page


def viewer(
    place: str, examples: Sequence[str] = (), beside_canvas: bool = False, compares: bool = False, goes_on: bool = False
) -> gr.HTML:
    """The right side of a tab. Its value is `views.moment`, its prop `film` is `views.film`; it sends back:
    attach and rest (it is looked at, or no more), settled (a job ended, the estimate may be better), stop (a job),
    reuse (a recipe), dropped (an uploaded picture), example (a prompt), send (a result, to a tab). Beside a canvas it
    asks for news itself once it is there, and leaves dropped pictures to the canvas. With `compares`, the picture
    before is over the result from the first; where a tab `goes_on`, its result becomes its next picture."""
    return gr.HTML(
        {"state": "idle", "text": ""},
        html_template=read("viewer.html"),
        js_on_load=read("attach.js") + read("viewer.js") + read("zoom.js") + read("points.js"),
        apply_default_css=False,
        elem_id=f"viewer-{place.lower()}",
        film=[],
        examples=list(examples),
        place=place,
        beside=beside_canvas,
        compares=compares,
        goes_on=goes_on,
        targets=[],
    )


class Watch:
    """Follows the jobs of some tasks for whoever looks, and stops those of who left a shared host for good."""

    def __init__(self, runner: Runner, library: Library, shared: bool, tasks: Sequence[str]) -> None:
        self.runner, self.library, self.shared, self.tasks = runner, library, shared, tuple(tasks)
        self.lookouts = Lookouts()
        self._present: dict[str, set[str]] = {}  # owner -> sessions of their open pages

    def jobs(self, owner: str) -> list[Job]:
        """The jobs of one owner, oldest first."""
        return [job for job in self.runner.jobs(owner) if job.request.task in self.tasks]

    def shown(self, owner: str) -> Shown:
        """What a page of an owner's has been told, before anything was."""
        return Shown(self.library, owner, self.tasks)

    def stop(self, event: gr.EventData, request: gr.Request) -> None:
        """Stop the job that the page names, if it belongs to who asks."""
        for job in self.jobs(owner_of(request, self.shared)):
            if job.id == event._data.get("job"):
                self.runner.stop(job)

    async def follow(self, request: gr.Request) -> AsyncIterator[list[Any]]:
        """Everything a page shows of its jobs, whenever it changes: viewer, gauge, stop button. It never ends."""
        self.came(request)
        owner = owner_of(request, self.shared)
        shown = self.shown(owner)
        with self.lookouts.serving(request) as is_on:
            while is_on():
                jobs = self.jobs(owner)
                if news := await shown.news(jobs, self.runner):
                    yield news
                await asyncio.sleep(PAUSE if any(job.ending is None for job in jobs) else REST)

    def came(self, request: gr.Request) -> None:
        """A page was opened; it follows once it shows the tab."""
        self._present.setdefault(owner_of(request, self.shared), set()).add(str(request.session_hash))

    async def left(self, request: gr.Request) -> None:
        """A page was closed. On a shared host the jobs of its owner end unless a page of theirs comes back."""
        owner = owner_of(request, self.shared)
        pages = self._present.get(owner, set())
        pages.discard(str(request.session_hash))
        if not pages:
            self._present.pop(owner, None)
            if self.shared:
                asyncio.get_running_loop().call_later(GRACE, self._abandon, owner)

    def _abandon(self, owner: str) -> None:
        if owner in self._present:
            return
        for job in self.jobs(owner):
            if job.ending is None:
                self.runner.stop(job)

    def attach(self, blocks: gr.Blocks, stage: gr.HTML, gauge: gr.HTML, stop: gr.Button, at_once: bool = True) -> None:
        """Wire a viewer: it follows from the first moment of a page, or of its tab, and again after the line broke."""
        outputs = [stage, gauge, stop]
        if at_once:
            blocks.load(self.follow, None, outputs, **LINE)
        else:
            blocks.load(self.came, None, None, **QUIET)
        self.lookouts.wire(stage, self.follow, outputs)
        blocks.unload(self.left)
        stage.stop(self.stop, None, None, trigger_mode="multiple", **QUIET)


class Shown:
    """What one page shows already, so that only what changed is sent."""

    def __init__(self, library: Library, owner: str, tasks: Sequence[str]) -> None:
        self._library, self._owner, self._tasks = library, owner, tasks
        self._marks: list[Any] | None = None
        self._film: int | None = None
        self._gauge: dict[str, Any] = {}
        self._busy: bool | None = None
        self._spoke = self._gauged = self._told = 0.0

    async def news(self, jobs: Sequence[Job], runner: Runner) -> list[Any]:
        """Updates for viewer, gauge and stop button; empty while there is nothing to say."""
        now = time.monotonic()
        seen = marks(jobs, runner)
        gauge = self._level(runner, now)
        if (
            seen == self._marks
            and gauge is None
            and self._library.album.changes == self._film
            and now - self._spoke < BEAT
        ):
            return []
        self._marks, self._spoke = seen, now
        view: dict[str, Any] = {"value": {**moment(jobs, runner, self._library), "beat": now}}
        if (made := self._library.album.changes) != self._film:
            self._film = made
            view["film"] = await asyncio.to_thread(film, self._library, self._owner, self._tasks)
        busy = any(job.ending is None and not job.held for job in jobs)
        button: Any = gr.skip()
        if busy != self._busy or now - self._told > BEAT:  # again, for a page drops what comes before its tab is drawn
            self._busy, self._told, button = busy, now, gr.update(interactive=busy)
        return [gr.update(**view), gauge or gr.skip(), button]

    def _level(self, runner: Runner, now: float) -> dict[str, Any] | None:
        if now - self._gauged < 1:
            return None
        self._gauged = now
        gauge = level(runner)
        if gauge == self._gauge:
            return None
        self._gauge = gauge
        return gauge
