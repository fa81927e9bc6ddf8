"""Jobs as rows: what waits, what runs and what broke outlives the process that works on it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pipelines.library.keeper import Keeper
from pipelines.library.rows import jobs
from pipelines.library.store import Store

OPEN, BROKEN = ("waiting", "running"), "broken"
BROKEN_KEPT, BROKEN_FOR = 5, 30 * 86400  # jobs of an owner that can be tried again, and seconds for which they can


@dataclass(frozen=True)
class Ticket:
    """A job that another process left behind, as it was: its id, whose, what was asked, and whether it ran.

    `said` is None where it is unfinished, else why it broke; empty where somebody stopped it.
    """

    id: str
    owner: str
    request: dict[str, Any]
    created: float
    place: float
    was_running: bool
    said: str | None = None


class Tickets:
    """The rows of the jobs. Each belongs to one process, until that is gone and another takes it over."""

    def __init__(self, store: Store, keeper: Keeper) -> None:
        self.store, self.keeper = store, keeper

    def add(self, id: str, owner: str, request: str, created: float, place: float) -> None:
        """Note a job that waits. Raises StudioError where it cannot be noted."""
        row = {"id": id, "owner": owner, "request": request, "created": created, "place": place}
        with self.store.writing() as connection:
            connection.execute(jobs.insert(), {**row, "state": "waiting", "keeper": self.keeper.id})

    def move(self, id: str, place: float) -> None:
        """Note that a job waits elsewhere in the line."""
        self._note(id, {"place": place})

    def begin(self, id: str) -> None:
        """Note that a job runs."""
        self._note(id, {"state": "running"})

    def end(self, id: str) -> None:
        """Forget a job that has ended: what it made is in the album."""
        with self.store.writing() as connection:
            connection.execute(jobs.delete().where(jobs.c.id == id))

    def shatter(self, id: str, owner: str, said: str) -> None:
        """Note that a job broke, and why; empty where somebody stopped it. Only the latest of an owner are kept."""
        broken = (jobs.c.owner == owner) & (jobs.c.state == BROKEN)
        latest = sa.select(jobs.c.id).where(broken).order_by(jobs.c.created.desc()).limit(BROKEN_KEPT)
        with self.store.writing() as connection:
            connection.execute(jobs.update().where(jobs.c.id == id).values(state=BROKEN, said=said))
            kept = list(connection.scalars(latest))
            connection.execute(jobs.delete().where(broken, jobs.c.id.not_in(kept)))

    def sweep(self, before: float | None = None) -> int:
        """Forget jobs that broke before then, or too long ago to be tried again; returns how many."""
        oldest = max(before or 0, time.time() - BROKEN_FOR)
        with self.store.writing() as connection:
            return connection.execute(jobs.delete().where(jobs.c.state == BROKEN, jobs.c.created < oldest)).rowcount

    def adopt(self) -> list[Ticket]:
        """Take over the jobs of processes that are gone, in their order; what ran comes before what waited."""
        with self.store.reading() as connection:
            keepers = set(connection.scalars(sa.select(jobs.c.keeper).distinct()))
        gone = [id for id in keepers if self.keeper.is_gone(id)]
        with self.store.writing() as connection:
            left = jobs.c.keeper.in_(gone)
            rows = list(connection.execute(sa.select(jobs).where(left).order_by(jobs.c.state, jobs.c.place)))
            connection.execute(jobs.update().where(left, jobs.c.state.in_(OPEN)).values(state="waiting"))
            connection.execute(jobs.update().where(left).values(keeper=self.keeper.id))
        return [
            Ticket(row.id, row.owner, json.loads(row.request), row.created, row.place, row.state == "running", row.said)
            for row in rows
        ]

    def owner(self, id: str) -> str:
        """Whose job it was; nobody's where it is not known."""
        with self.store.reading() as connection:
            return connection.scalar(sa.select(jobs.c.owner).where(jobs.c.id == id)) or ""

    def _note(self, id: str, values: dict[str, Any]) -> None:
        with self.store.writing() as connection:
            connection.execute(jobs.update().where(jobs.c.id == id).values(values))
