"""One thread owns the device and runs one job at a time; everybody else talks to it through a queue."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from pipelines.errors import Busy, Stopped, StudioError
from pipelines.estimate import Expectation
from pipelines.events import Cancelled, Done, Ending, Failed, Finished, Painted, Remark, Result, Stage
from pipelines.job import Job, left_of
from pipelines.line import Line, makes_way
from pipelines.origin import origin_of
from pipelines.request import Request
from pipelines.tasks import Running, run, tasks

if TYPE_CHECKING:
    from pipelines.library import Library
    from pipelines.memory import Memory

logger = logging.getLogger(__name__)
LONGEST_QUEUE = 100
REMEMBERED = 50  # ended jobs that a page can still ask for
ONCE_MORE = "Memory ran out on the way; this was begun again with less."


class Runner:
    """Takes requests, runs them in order on its own thread, and keeps the finished pictures in a library."""

    def __init__(self, make_memory: Callable[[], Memory], library: Library | None = None) -> None:
        self._make_memory, self._library = make_memory, library
        self.memory: Memory | None = None  # there once the device thread has imported torch
        self._line = Line(library)
        self._jobs: dict[str, Job] = {}
        self._running: Job | None = None
        self._wake = threading.Condition()
        self._closed = False
        self._chores: deque[Callable[[Memory], None]] = deque()
        self._thread = threading.Thread(target=self._serve, name="device", daemon=True)
        self._thread.start()

    def submit(self, request: Request, owner: str = "") -> Job:
        """Put a request at the end of the queue; its seed is drawn here. Raises Busy, StudioError on a full disk."""
        job = Job(request.with_seed(), owner)
        if len(self._line) >= LONGEST_QUEUE:
            raise Busy("The queue is full. Try again in a minute.")
        self._line.note(job)
        self._queue(job)
        return job

    def restore(self) -> list[Job]:
        """Take over what studios that are gone left: returns what is unfinished, held; `jobs` names what broke, too."""
        left = self._line.left()
        for job in left:
            self._queue(job)
        return [job for job in left if job.ending is None]

    def _queue(self, job: Job) -> None:
        with self._wake:
            if job.ending is None:
                self._line.append(job)
            self._jobs[job.id] = job
            self._forget()
            self._wake.notify_all()

    def stop(self, job: Job) -> None:
        """End a job: at once while it waits, before its next step while it runs."""
        job.stop()
        with self._wake:
            waited = job in self._line
            if waited:
                self._line.remove(job)
                job.say(Cancelled())
        if waited:
            self._line.ended(job, Cancelled())

    def hold(self, owner: str) -> None:
        """Have the waiting jobs of an owner wait until they go on; the one that runs runs to its end."""
        with self._wake:
            for job in self._line:
                job.held = job.held or job.owner == owner

    def go_on(self, owner: str) -> None:
        """Let the held jobs of an owner run when their turn comes."""
        with self._wake:
            for job in self._line:
                job.held = job.held and job.owner != owner
            self._wake.notify_all()

    def pause(self, job: Job) -> None:
        """Have a job wait until it is resumed: before it begins, or at its next step where its task makes way."""
        with self._wake:
            job.held = job.held or job in self._line or makes_way(job)

    def resume(self, job: Job, enough: bool = False) -> None:
        """Let a held job run when its turn comes. With `enough`, a training ends then, and keeps what there is."""
        if enough and self._library is not None:
            self._library.shelf(job.owner).workshop().run(job.request).enough()
        with self._wake:
            job.held = False
            self._wake.notify_all()

    def advance(self, job: Job) -> None:
        """Put a waiting job before all others of its owner."""
        with self._wake:
            if job not in self._line:
                return
            self._line.advance(job)
        self._line.moved(job)

    def retry(self, job: Job) -> Job:
        """Put what is left of an ended job in line once more, or all of it where nothing is left."""
        again = self.submit(left_of(job), job.owner)
        self.dismiss(job)
        return again

    def dismiss(self, job: Job) -> None:
        """Offer an ended job no more."""
        job.dismissed = True
        self._line.forget(job)

    def clear(self, owner: str) -> None:
        """End every waiting job of an owner, and offer none that broke any more."""
        for job in self.jobs(owner):
            if job in self._line:
                self.stop(job)
            if isinstance(job.ending, (Failed, Cancelled)) and not job.dismissed:
                self.dismiss(job)

    def position(self, job: Job) -> int:
        """How many jobs are before this one; 0 when it runs or has ended."""
        with self._wake:
            return self._line.before(job) + bool(self._running) if job in self._line else 0

    def jobs(self, owner: str | None = None) -> list[Job]:
        """Jobs still known, oldest first; those of one owner where one is named."""
        with self._wake:
            return [job for job in self._jobs.values() if owner is None or job.owner == owner]

    def expect(self, request: Request, owner: str = "") -> Expectation:
        """What a request will cost here, as far as it is known. Raises BadRequest for pictures the owner has not."""
        from pipelines.needs import foretold

        if self.memory is None:
            return Expectation(None, 0, "the studio is warming up")
        return foretold(request, self.memory, self._library.shelf(owner) if self._library else None)

    def chore(self, work: Callable[[Memory], None]) -> None:
        """Have the device thread do something when no job waits, such as warming a model; a job that comes ends it."""
        with self._wake:
            self._chores.append(work)
            self._wake.notify_all()

    def close(self) -> None:
        """Stop everything and end the thread; waits for the step in progress. What is unfinished stays a row."""
        with self._wake:
            self._closed = True
            for job in [*self._line, *filter(None, [self._running])]:
                job.stop()
            self._wake.notify_all()
        self._thread.join()
        for job in self._line:
            job.say(Cancelled())

    def _serve(self) -> None:
        try:
            self.memory = self._make_memory()
        except Exception:
            logger.exception("The device could not be set up")
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._line.next() or self._chores or self._closed)
                job = self._running = None if self._closed else self._line.next()
                if job is not None:
                    self._line.remove(job)
                chore = self._chores.popleft() if job is None and self._chores else None
                if job is None and chore is None:
                    return
            if job is not None:
                self._line.begun(job)
                ending = self._fulfilled(job)
                self._ended(job, ending) if ending else self._left(job)
            elif chore is not None:
                self._done(chore)

    def _ended(self, job: Job, ending: Ending) -> None:
        """The lane is free before anybody hears the ending, and memory is back before the lane is free."""
        if self.memory is not None:
            self.memory.device.collect()
        with self._wake:
            self._running = None
        if not self._closed:  # else it is offered again at the next start
            self._line.ended(job, ending)
        job.say(ending)

    def _left(self, job: Job) -> None:  # it made way, or is held
        job.say(Stage("Paused" if job.held else "Waits while something else is painted"))
        with self._wake:
            self._running = None
            self._line.put_back(job)

    def _done(self, chore: Callable[[Memory], None]) -> None:
        """Run a chore until it is done or a job comes, which then does itself what is left of it."""

        def check() -> None:
            if self._line.next() or self._closed:
                raise Stopped

        if self.memory is None:
            return
        self.memory.check = check
        try:
            chore(self.memory)
        except Stopped:
            logger.info("A chore made way for a job")
        except Exception:
            logger.exception("A chore on the device failed")
        finally:
            self.memory.check = lambda: None

    def _fulfilled(self, job: Job) -> Ending | None:
        """Run a job to its end, whatever that is, or until it is left; what it raised is turned into a sentence."""
        if self.memory is None:
            return Failed("The studio could not start its device; the log says why.")
        job.started = job.started or time.time()
        self.memory.await_jobs(self._line.needs())
        kept: list[Painted[Request]] = []
        for attempt in count():
            try:
                return self._followed(job, self.memory, kept)
            except Stopped:
                return Cancelled()
            except StudioError as error:
                return Failed(str(error))
            except Exception as error:
                if not self.memory.is_short(error):
                    logger.exception("Job %s failed", job.id)
                    return Failed("Something broke inside the studio while it worked on this; the log has the details.")
                logger.warning("Job %s ran out of memory: %s", job.id, error)
            if not self.memory.step_down(again=attempt > 0):
                break
            job.say(Remark(ONCE_MORE))  # the whole job, its noise too, from the start, with less
        return Failed("There is not enough memory for this. A smaller picture or a smaller model would fit.")

    def _followed(self, job: Job, memory: Memory, kept: list[Painted[Request]]) -> Ending | None:
        def check() -> None:
            if job.stopping.is_set():
                raise Stopped

        running = run(job.request, memory, self._library.shelf(job.owner) if self._library else None)
        memory.check = check
        try:
            return self._narrated(job, running, memory, kept)
        finally:
            memory.check = lambda: None
            running.close()  # leaves every `with`: models are returned, patches undone

    def _narrated(self, job: Job, running: Running, memory: Memory, kept: list[Painted[Request]]) -> Ending | None:
        """Pass on what a task says. `kept` holds the pictures that are said; an earlier attempt may have made some."""
        begun, check = time.time(), memory.check
        keeps = tasks[job.request.task].keeps_best  # it hears of a stop in its network, and finishes what is there
        while not self._closed and (keeps or not job.stopping.is_set()):
            try:
                event = next(running)
            except StopIteration as end:
                if job.stopping.is_set():
                    break
                result = Result(tuple(kept), end.value.remarks) if self._library else end.value
                return Done(result, time.time() - job.started)
            if isinstance(event, Finished):
                if any(each.request == event.painted.request for each in kept):
                    continue
                kept.append(self._kept(event.painted, job, memory, time.time() - begun))
                event, begun = Finished(kept[-1]), time.time()
                keeps, memory.check = keeps and not job.stopping.is_set(), check
            job.say(event)
            if self._line.outranks(job) and not job.stopping.is_set():
                return None
        return Cancelled()

    def _kept(self, painted: Painted[Request], job: Job, memory: Memory, seconds: float) -> Painted[Request]:
        """A picture in its file, where there is a library to keep it."""
        if self._library is None:
            return painted
        origin = {**origin_of(painted.request, memory), "job": job.id}
        if painted.figures:
            origin |= {"figures": dict(painted.figures)}
        kept = self._library.keep(painted, job.owner, origin, painted.figures.get("seconds", seconds))
        return replace(kept, figures=painted.figures)

    def _forget(self) -> None:
        for job in [job for job in self._jobs.values() if job.ending][:-REMEMBERED]:
            del self._jobs[job.id]
