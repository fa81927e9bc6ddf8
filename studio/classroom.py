"""Trainings as pages follow them, and what may be done with one. They go on in the server, whoever looks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from pipelines.errors import StudioError
from pipelines.events import Cancelled
from pipelines.job import Job
from studio.desk import Desk
from studio.form import QUIET
from studio.lessons import course, marks, painted, proofs, watched
from studio.lookouts import Lookouts
from studio.portfolio import Portfolio, told
from studio.security import owner_of

TASK = "personalize"
PAUSE, REST = 0.2, 0.5  # seconds between two looks at a training that goes on, and at none
PATIENCE = 120.0  # seconds that a training may take to end


class Classroom:
    """What a page is told of trainings, and what it may wish of one."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.runner, self.library = desk, desk.runner, desk.library
        self.portfolio = Portfolio(desk)
        self.lookouts = Lookouts()

    def wire(self, sheet: gr.HTML) -> None:
        """Wire the sheet that shows it: it sends back attach and rest as the viewer does, and wish (for a job)."""
        self.lookouts.wire(sheet, self.follow, sheet)
        sheet.wish(self.wish, None, sheet, trigger_mode="multiple", **QUIET)
        self.portfolio.wire(sheet)

    def jobs(self, owner: str) -> list[Job]:
        """The trainings of an owner that are still known, oldest first."""
        return [job for job in self.runner.jobs(owner) if job.request.task == TASK]

    async def follow(self, request: gr.Request) -> AsyncIterator[Any]:
        """Everything a page shows of trainings, whenever it changes, for as long as the page looks."""
        owner = owner_of(request, self.desk.shared)
        changes = self.lookouts.changes(
            request, lambda: self._marks(owner), lambda now: PAUSE if now["going"] else REST
        )
        async for before, now in changes:
            yield gr.update(**await asyncio.to_thread(self._news, owner, before, now))

    async def wish(self, who: gr.Request, event: gr.EventData) -> Any:
        """Pause, go on, keep or stop the training that the page names, if it belongs to who asks."""
        said = event._data or {}
        job = next((each for each in self.jobs(owner_of(who, self.desk.shared)) if each.id == said.get("job")), None)
        try:
            match said.get("wish"), job:
                case "pause", Job():
                    self.runner.pause(job)
                case "go_on" | "keep" as wish, Job():
                    self.runner.resume(job, enough=wish == "keep")
                case "stop", Job():
                    await self._stop(job)
        except StudioError as error:
            return gr.update(told=told(str(error), bad=True))
        return gr.update(told=told(""))

    async def _stop(self, job: Job) -> None:
        """End a training and delete what it has learned."""
        self.runner.stop(job)
        until = time.monotonic() + PATIENCE
        while job.ending is None and time.monotonic() < until:
            await asyncio.sleep(0.05)
        if isinstance(job.ending, Cancelled):
            self.library.shelf(job.owner).workshop().run(job.request).drop()

    def _marks(self, owner: str) -> dict[str, Any]:
        """Values that change exactly when a part of what is shown does."""
        job = watched(self.jobs(owner))
        return {
            "value": marks(job, self.runner),
            "proofs": [job and job.id, painted(job)],
            "taught": self.portfolio.marks(owner),
            "going": job is not None and job.ending is None,
        }

    def _news(self, owner: str, before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
        """The parts of the sheet that changed; the value always, which tells the page that the line holds."""
        job = watched(self.jobs(owner))
        news: dict[str, Any] = {"value": {**course(job, self.runner), "beat": time.monotonic()}}
        if now["proofs"] != before.get("proofs"):
            news["proofs"] = proofs(job)
        if now["taught"] != before.get("taught"):
            news["taught"] = self.portfolio.shown(owner)
        return news
