"""The queue in the header: one line for all tabs, with what it takes to order it, and what a studio before left."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from pipelines.errors import StudioError
from pipelines.events import Cancelled, Failed
from pipelines.job import Job, left_of
from studio.desk import Desk
from studio.form import QUIET
from studio.lookouts import LINE, Lookouts
from studio.phrases import spoken
from studio.security import owner_of
from studio.theme import read
from studio.views import ended, moment

PAUSE = 0.4  # seconds between two looks at the line
RETRIABLE = 5  # jobs that did not end well and are still offered
LONGEST = 120  # characters of a prompt


def drawer() -> gr.HTML:
    """The button and the list behind it. Its value is `Drawer.shown`; it sends back what somebody wants of the line,
    and attach and rest as the viewer does."""
    return gr.HTML(
        {"jobs": []},
        html_template=read("queue.html"),
        js_on_load=read("attach.js") + read("queue.js"),
        apply_default_css=False,
        elem_classes="line-box-holder",
    )


class Drawer:
    """What a page sees of the line of whoever looks, and what they may do with it."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.runner = desk, desk.runner
        self.lookouts = Lookouts()

    def shown(self, owner: str) -> dict[str, Any]:
        """The jobs of an owner that have not ended, in their order, then those that did not end well."""
        jobs = self.runner.jobs(owner)
        line = sorted((job for job in jobs if job.ending is None), key=self._order)
        broken = [job for job in jobs if isinstance(job.ending, (Failed, Cancelled)) and not job.dismissed]
        return {
            "jobs": [self._row(job) for job in [*line, *reversed(broken[-RETRIABLE:])]],
            "waiting": sum(not job.held for job in line),
            "held": sum(job.held for job in line),
            "left": sum(job.held and job.was_left for job in line),
        }

    async def follow(self, request: gr.Request) -> AsyncIterator[Any]:
        """The line, whenever it changes, for as long as the page looks."""
        owner = owner_of(request, self.desk.shared)
        async for _, now in self.lookouts.changes(request, lambda: self.shown(owner), lambda _: PAUSE):
            yield gr.update(value={**now, "beat": time.monotonic()})

    def wish(self, request: gr.Request, event: gr.EventData) -> None:
        """Do what the page wants: with one job (front, retry, stop), or with all that wait (hold, go_on, clear)."""
        owner, said = owner_of(request, self.desk.shared), event._data
        job = next((each for each in self.runner.jobs(owner) if each.id == said.get("job")), None)
        match said.get("wish"), job:
            case "front", Job():
                self.runner.advance(job)
            case "retry", Job():
                self._retry(job, request)
            case "stop", Job():
                self.runner.stop(job)
            case "hold", _:
                self.runner.hold(owner)
            case "go_on", _:
                self.runner.go_on(owner)
            case "clear", _:
                self.runner.clear(owner)

    def attach(self, sheet: gr.HTML) -> None:
        """Wire a drawer."""
        self.desk.blocks.load(self.follow, None, sheet, **LINE)
        self.lookouts.wire(sheet, self.follow, sheet)
        sheet.wish(self.wish, None, None, trigger_mode="multiple", **QUIET)

    def _retry(self, job: Job, request: gr.Request) -> None:
        try:
            self.desk.submit(left_of(job), request)
            self.runner.dismiss(job)
        except StudioError as error:
            gr.Warning(str(error))

    def _order(self, job: Job) -> tuple[bool, float]:
        return (not job.started, job.place)

    def _row(self, job: Job) -> dict[str, Any]:
        seen = moment([job], self.runner) if job.ending is None else ended(job)
        expected = self.runner.expect(job.request).seconds if job.ending is None and not job.started else None
        cut = " · it was cut off" if job.was_cut_off else ""
        return {
            "id": job.id,
            "prompt": str(getattr(job.request, "prompt", ""))[:LONGEST],
            "task": job.request.task.replace("_", " "),
            "state": "held" if job.held and job.ending is None else seen["state"],
            "text": f"Paused{cut}" if job.held and job.ending is None else seen["text"],
            "done": round(seen.get("done", 0), 2),
            "left": spoken(seen.get("left") or expected or 0) if seen.get("left") or expected else "",
        }
