"""The jobs that wait, in order, and their rows in the library, by which they outlive this process.

Whoever calls holds the runner's lock where the order changes, and does not where a row is written: a database may be
slow, and pages must not wait for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pipelines.errors import StudioError
from pipelines.events import Cancelled, Done, Ending, Failed
from pipelines.job import Job, rest
from pipelines.needs import keys_of
from pipelines.tasks import parse, tasks

if TYPE_CHECKING:
    from pipelines.library import Library
    from pipelines.library.tickets import Tickets

logger = logging.getLogger(__name__)


def makes_way(job: Job) -> bool:
    """Whether a job can be left at any event, so that others need not wait for it."""
    return job.request.task in tasks and tasks[job.request.task].makes_way


class Line:
    """Waiting jobs. A job that is held keeps its place and is passed over."""

    def __init__(self, library: Library | None = None) -> None:
        self._library = library
        self._waiting: list[Job] = []

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._waiting))

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, job: object) -> bool:
        return job in self._waiting

    def next(self) -> Job | None:
        """The job whose turn it is: the first, and only where there is none else one that makes way."""
        return next(iter(self._turns()), None)

    def needs(self) -> list[frozenset[str]]:
        """The keys of the parts that each waiting job will lend, the next one first."""
        return [keys_of(job.request) for job in self._turns()]

    def before(self, job: Job) -> int:
        """How many jobs come before one that waits."""
        turns = self._turns()
        place = self._waiting.index(job)
        return turns.index(job) if job in turns else sum(not each.held for each in self._waiting[:place])

    def outranks(self, job: Job) -> bool:
        """Whether a job that runs should be left for another: it is held, or makes way and another waits."""
        first = self.next()
        return makes_way(job) and (job.held or (first is not None and not makes_way(first)))

    def _turns(self) -> list[Job]:
        return sorted((job for job in self._waiting if not job.held), key=makes_way)

    def put_back(self, job: Job) -> None:
        """Have a job that was left wait at the place it had."""
        later = next((k for k, each in enumerate(self._waiting) if each.place > job.place), len(self._waiting))
        self._waiting.insert(later, job)

    def append(self, job: Job) -> None:
        """Have a job wait behind all others."""
        self._waiting.append(job)

    def remove(self, job: Job) -> None:
        """Take a job out of the line."""
        self._waiting.remove(job)

    def advance(self, job: Job) -> None:
        """Put a job before the others of its owner; nobody passes the jobs of somebody else."""
        first = next(k for k, each in enumerate(self._waiting) if each.owner == job.owner)
        job.place = self._waiting[first].place - 1e-3 * (self._waiting[first] is not job)
        self._waiting.remove(job)
        self._waiting.insert(first, job)

    def note(self, job: Job) -> None:
        """Write a new job's row. Raises StudioError where that cannot be, or where the library has no room."""
        if self._library is None:
            return
        room = self._library.room()
        if room.is_full:
            raise StudioError(room.warning())
        self._library.tickets.add(job.id, job.owner, job.request.to_json(), job.created, job.place)

    def moved(self, job: Job) -> None:
        """Note a job's new place."""
        if self._library is not None:
            self._library.tickets.move(job.id, job.place)

    def begun(self, job: Job) -> None:
        """Note that a job runs."""
        self._noted(job, lambda tickets: tickets.begin(job.id))

    def ended(self, job: Job, ending: Ending) -> None:
        """Note that a job is no more; one that broke or was stopped can be tried again, by whoever comes after us."""
        if isinstance(ending, Done):
            return self.forget(job)
        said = ending.text if isinstance(ending, Failed) else ""
        return self._noted(job, lambda tickets: tickets.shatter(job.id, job.owner, said))

    def forget(self, job: Job) -> None:
        """Have a job that ended be no row any more."""
        self._noted(job, lambda tickets: tickets.end(job.id))

    def left(self) -> list[Job]:
        """The jobs of processes that are gone, each with what is left of its pictures to paint: the unfinished ones
        held, and those that broke with their ending."""
        if self._library is None:
            return []
        found, tickets = [], self._library.tickets.adopt()
        if any(ticket.was_running for ticket in tickets):
            self._library.take_in()  # a picture may be in its file and in no row yet
        for ticket in tickets:
            try:
                request = rest(parse(ticket.request), self._library.album.made_by(ticket.id))
            except StudioError as error:
                logger.warning("A job of before cannot go on: %s", error)
                request = None
            if request is None:
                self._library.tickets.end(ticket.id)
                continue
            job = Job(request, ticket.owner, ticket.id)
            job.created, job.place = ticket.created, ticket.place
            job.held = job.was_left = True
            job.was_cut_off = ticket.was_running
            if ticket.said is not None:
                job.say(Failed(ticket.said) if ticket.said else Cancelled())
            found.append(job)
        return found

    def _noted(self, job: Job, note: Callable[[Tickets], None]) -> None:
        """The studio goes on where the database does not: at worst a job is offered once more."""
        if self._library is None:
            return
        try:
            note(self._library.tickets)
        except StudioError as error:
            logger.warning("The row of job %s is as it was: %s", job.id, error)
