"""One thread owns the device and runs one job at a time; everybody else talks to it through a queue."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipelines.errors import Busy, StudioError
from pipelines.estimate import Expectation
from pipelines.events import Cancelled, Done, Ending, Failed, Finished, Painted, Result
from pipelines.job import Job
from pipelines.request import Request
from pipelines.tasks import Running, run

if TYPE_CHECKING:
    from pipelines.library import Library
    from pipelines.memory import Memory

logger = logging.getLogger(__name__)
LONGEST_QUEUE = 100
REMEMBERED = 50  # ended jobs that a page can still ask for


class Stopped(Exception):
    """Raised inside a network whose job was stopped."""


class Runner:
    """Takes requests, runs them in order on its own thread, and keeps the finished pictures in a library."""

    def __init__(self, make_memory: Callable[[], Memory], library: Library | None = None) -> None:
        self._make_memory, self._library = make_memory, library
        self.memory: Memory | None = None  # there once the device thread has imported torch
        self._waiting: deque[Job] = deque()
        self._jobs: dict[str, Job] = {}
        self._running: Job | None = None
        self._wake = threading.Condition()
        self._closed = False
        self._chores: deque[Callable[[Memory], None]] = deque()
        self._thread = threading.Thread(target=self._serve, name="device", daemon=True)
        self._thread.start()

    def submit(self, request: Request, owner: str = "") -> Job:
        """Put a request at the end of the queue; its seed is drawn here. Raises Busy."""
        job = Job(request.with_seed(), owner)
        with self._wake:
            if len(self._waiting) >= LONGEST_QUEUE:
                raise Busy("The queue is full. Try again in a minute.")
            self._waiting.append(job)
            self._jobs[job.id] = job
            self._forget()
            self._wake.notify_all()
        return job

    def stop(self, job: Job) -> None:
        """End a job: at once while it waits, before its next step while it runs."""
        job.stop()
        with self._wake:
            if job in self._waiting:
                self._waiting.remove(job)
                job.say(Cancelled())

    def position(self, job: Job) -> int:
        """How many jobs are before this one; 0 when it runs or has ended."""
        with self._wake:
            return self._waiting.index(job) + bool(self._running) if job in self._waiting else 0

    def jobs(self, owner: str | None = None) -> list[Job]:
        """Jobs still known, oldest first; those of one owner where one is named."""
        with self._wake:
            return [job for job in self._jobs.values() if owner is None or job.owner == owner]

    def expect(self, request: Request) -> Expectation:
        """What a request will cost here, as far as it is known."""
        from pipelines.painting import Sampled, expected

        if self.memory is None or not isinstance(request, Sampled):
            return Expectation(None, 0, "the studio is warming up")
        return expected(request, self.memory)

    def chore(self, work: Callable[[Memory], None]) -> None:
        """Have the device thread do something when no job waits, such as warming a model; a job that comes ends it."""
        with self._wake:
            self._chores.append(work)
            self._wake.notify_all()

    def close(self) -> None:
        """Stop everything and end the thread; waits for the step in progress."""
        with self._wake:
            self._closed = True
            for job in [*self._waiting, *filter(None, [self._running])]:
                job.stop()
            self._wake.notify_all()
        self._thread.join()

    def _serve(self) -> None:
        try:
            self.memory = self._make_memory()
        except Exception:
            logger.exception("The device could not be set up")
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting or self._chores or self._closed)
                job = self._running = self._waiting.popleft() if self._waiting else None
                chore = self._chores.popleft() if job is None and self._chores else None
                if job is None and chore is None:
                    return
            if job is not None:
                self._ended(job, self._fulfilled(job))
            elif chore is not None:
                self._done(chore)

    def _ended(self, job: Job, ending: Ending) -> None:
        """The lane is free before anybody hears the ending, and memory is back before the lane is free."""
        if self.memory is not None:
            self.memory.device.collect()
        with self._wake:
            self._running = None
        job.say(ending)

    def _done(self, chore: Callable[[Memory], None]) -> None:
        """Run a chore until it is done or a job comes, which then does itself what is left of it."""

        def check() -> None:
            if self._waiting or self._closed:
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

    def _fulfilled(self, job: Job) -> Ending:
        """Run a job to its end, whatever that is; what it raised is turned into a sentence."""
        if self.memory is None:
            return Failed("The studio could not start its device; the log says why.")
        job.started = time.time()
        try:
            return self._followed(job, self.memory)
        except Stopped:
            return Cancelled()
        except StudioError as error:
            return Failed(str(error))
        except Exception as error:
            if not _is_out_of_memory(error):
                logger.exception("Job %s failed", job.id)
                return Failed("Something broke inside the studio while it worked on this; the log has the details.")
        return self._once_more(job, self.memory)

    def _once_more(self, job: Job, memory: Memory) -> Ending:
        """After out of memory: everything idle leaves, and the whole job, its noise too, starts afresh."""
        memory.free()
        try:
            return self._followed(job, memory)
        except Stopped:
            return Cancelled()
        except Exception as error:
            logger.warning("Job %s ran out of memory twice: %s", job.id, error)
        memory.free()
        return Failed("There is not enough memory for this. A smaller picture or a smaller model would fit.")

    def _followed(self, job: Job, memory: Memory) -> Ending:
        def check() -> None:
            if job.stopping.is_set():
                raise Stopped

        running = run(job.request, memory)
        memory.check = check
        try:
            return self._narrated(job, running)
        finally:
            memory.check = lambda: None
            running.close()  # leaves every `with`: models are returned, patches undone

    def _narrated(self, job: Job, running: Running) -> Ending:
        kept: list[Painted[Request]] = []
        while not (job.stopping.is_set() or self._closed):
            try:
                event = next(running)
            except StopIteration as end:
                result = Result(tuple(kept), end.value.remarks) if self._library else end.value
                return Done(result, time.time() - job.started)
            if isinstance(event, Finished) and self._library:
                kept.append(self._library.keep(event.painted, job.owner))
                event = Finished(kept[-1])
            job.say(event)
        return Cancelled()

    def _forget(self) -> None:
        ended = [job for job in self._jobs.values() if job.ending]
        for job in ended[:-REMEMBERED]:
            del self._jobs[job.id]


def _is_out_of_memory(error: Exception) -> bool:
    import torch
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or bool(should_reduce_batch_size(error))
