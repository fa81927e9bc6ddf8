"""The stage: preview, status, result, film strip and recipe. The one place that follows jobs for a page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import gradio as gr

from pipelines.events import Done, Finished
from pipelines.job import Job
from pipelines.runner import Runner
from studio.form import QUIET
from studio.gauge import level
from studio.security import owner_of
from studio.theme import read
from studio.views import film, marks, moment

PAUSE, REST = 0.05, 0.25  # seconds between two looks at a job that runs, and at none
BEAT = 4.0  # seconds after which a page hears something in any case; one that left is noticed by it
GRACE = 60.0  # seconds that a job on a shared host outlives its last page


def viewer(task: str, examples: Sequence[str] = ()) -> gr.HTML:
    """The right side of a tab. Its value is `views.moment`, its prop `film` is `views.film`; it sends back:
    attach and rest (it is looked at, or no more), settled (a job ended, the estimate may be better), stop (a job),
    reuse (a recipe), dropped (an uploaded picture), example (a prompt)."""
    return gr.HTML(
        {"state": "idle", "text": ""},
        html_template=read("viewer.html"),
        js_on_load=read("viewer.js"),
        apply_default_css=False,
        elem_id=f"viewer-{task}",
        film=[],
        examples=list(examples),
    )


class Watch:
    """Follows the jobs of one task for whoever looks, and stops those of who left a shared host for good."""

    def __init__(self, runner: Runner, shared: bool, task: str) -> None:
        self.runner, self.shared, self.task = runner, shared, task
        self._pages: dict[str, object] = {}  # session of a page -> the handler that serves it now
        self._present: dict[str, set[str]] = {}  # owner -> sessions of their open pages

    def jobs(self, owner: str) -> list[Job]:
        """The jobs of one owner, oldest first."""
        return [job for job in self.runner.jobs(owner) if job.request.task == self.task]

    def stop(self, event: gr.EventData, request: gr.Request) -> None:
        """Stop the job that the page names, if it belongs to who asks."""
        for job in self.jobs(owner_of(request, self.shared)):
            if job.id == event._data.get("job"):
                self.runner.stop(job)

    async def follow(self, request: gr.Request) -> AsyncIterator[list[Any]]:
        """Everything a page shows of its jobs, whenever it changes: viewer, gauge, stop button. It never ends."""
        owner, page, handler = owner_of(request, self.shared), str(request.session_hash), object()
        self._pages[page] = handler
        self._present.setdefault(owner, set()).add(page)
        shown = Shown()
        try:
            while self._pages.get(page) is handler:
                jobs = self.jobs(owner)
                if news := await shown.news(jobs, self.runner):
                    yield news
                await asyncio.sleep(PAUSE if any(job.ending is None for job in jobs) else REST)
        finally:
            if self._pages.get(page) is handler:
                del self._pages[page]

    def rest(self, request: gr.Request) -> None:
        """A page is in the background: it needs no news, and no connection of the six that a browser has for us."""
        self._pages.pop(str(request.session_hash), None)

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

    def attach(self, blocks: gr.Blocks, stage: gr.HTML, gauge: gr.HTML, stop: gr.Button) -> None:
        """Wire a viewer: it follows from the first moment of a page, and again after the line broke."""
        line: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}
        outputs = [stage, gauge, stop]
        blocks.load(self.follow, None, outputs, **line)
        stage.attach(self.follow, None, outputs, trigger_mode="multiple", **line)
        stage.rest(self.rest, None, None, **QUIET)
        blocks.unload(self.left)
        stage.stop(self.stop, None, None, trigger_mode="multiple", **QUIET)


class Shown:
    """What one page shows already, so that only what changed is sent."""

    def __init__(self) -> None:
        self._marks: list[Any] | None = None
        self._film: list[str] | None = None
        self._gauge: dict[str, Any] = {}
        self._busy: bool | None = None
        self._spoke = self._gauged = 0.0

    async def news(self, jobs: Sequence[Job], runner: Runner) -> list[Any]:
        """Updates for viewer, gauge and stop button; empty while there is nothing to say."""
        now = time.monotonic()
        seen = marks(jobs, runner)
        gauge = self._level(runner, now)
        if seen == self._marks and gauge is None and now - self._spoke < BEAT:
            return []
        self._marks, self._spoke = seen, now
        view: dict[str, Any] = {"value": {**moment(jobs, runner), "beat": now}}
        made = [each.id for each in jobs] + [str(_finished(jobs))]
        if made != self._film:
            self._film = made
            view["film"] = await asyncio.to_thread(film, jobs)
        busy = any(job.ending is None for job in jobs)
        button = gr.skip() if busy == self._busy else gr.update(interactive=busy)
        self._busy = busy
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


def _finished(jobs: Sequence[Job]) -> int:
    return sum(isinstance(event, (Finished, Done)) for job in jobs for event in job.latest())
