"""A job: a request on its way, what it has said so far, and whether somebody wants it to stop."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator

from pipelines.events import Ending, Event, Finished, Progress
from pipelines.request import Request


class Job:
    """A request on its way. Events are kept, so that any number of pages can watch, from the start or later on."""

    def __init__(self, request: Request, owner: str, id: str = "") -> None:
        self.id = id or uuid.uuid4().hex
        self.request, self.owner = request, owner
        self.created, self.started = time.time(), 0.0
        self.place = self.created  # in line; the lowest is next
        self.held = False  # it waits until somebody says go on
        self.was_left = False  # by a studio that was ended
        self.was_cut_off = False  # it ran there
        self.dismissed = False  # it broke, and nobody is offered it any more
        self.stopping = threading.Event()
        self._said: list[tuple[int, Event]] = []  # numbered, so that a watcher knows what is new to it
        self._changed = threading.Condition()

    @property
    def ending(self) -> Ending | None:
        """How the job ended, or None while it has not."""
        last = self._said[-1][1] if self._said else None
        return last if isinstance(last, Ending) else None

    @property
    def said(self) -> int:
        """The number of the last event; it grows with everything that is said."""
        with self._changed:
            return self._said[-1][0] if self._said else 0

    def stop(self) -> None:
        """Ask the job to end; the runner sees to it before the next step."""
        self.stopping.set()

    def say(self, event: Event) -> None:
        """Pass an event on to all who watch. Progress replaces earlier progress; nothing follows an ending."""
        with self._changed:
            if self.ending:
                return
            number = self._said[-1][0] + 1 if self._said else 1
            if isinstance(event, (Progress, Ending)):
                self._said = [each for each in self._said if not isinstance(each[1], Progress)]
            self._said.append((number, event))
            self._changed.notify_all()

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """What was said so far, then what comes, up to the ending. Raises TimeoutError after so much silence."""
        heard = 0
        while True:
            for number, event in self._next(heard, timeout):
                heard = number
                yield event
                if isinstance(event, Ending):
                    return

    def latest(self) -> list[Event]:
        """What was said so far and still counts, without waiting."""
        with self._changed:
            return [event for _, event in self._said]

    def _next(self, heard: int, timeout: float | None) -> list[tuple[int, Event]]:
        with self._changed:
            if not self._changed.wait_for(lambda: self._after(heard), timeout):
                raise TimeoutError(f"The job has said nothing for {timeout} seconds.")
            return self._after(heard)

    def _after(self, heard: int) -> list[tuple[int, Event]]:
        return [each for each in self._said if each[0] > heard]


def rest(request: Request, made: int) -> Request | None:
    """The request for the pictures that are not made yet; None where all of them are."""
    if hasattr(request, "left"):
        return request.left(made)  # type: ignore[no-any-return]
    count = getattr(request, "count", 1)
    if not 0 < made <= count:
        return request
    if made == count:
        return None
    left = getattr(request, "singles")()[made]  # noqa: B009  # whatever has a count has singles
    return left.model_copy(update={"count": count - made})  # type: ignore[no-any-return]


def left_of(job: Job) -> Request:
    """The request for what an ended job has not painted; all of it where it has painted everything."""
    made = sum(isinstance(event, Finished) for event in job.latest())
    return rest(job.request, made) or job.request
