"""Jobs outlive the process that works on them: in their order, held until somebody says go on, and none twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.errors import StudioError
from pipelines.events import Cancelled, Done, Event, Failed, Finished, Painted, Progress, Result
from pipelines.job import rest
from pipelines.library import Library
from pipelines.library.album import Wanted
from pipelines.library.tickets import BROKEN_KEPT
from pipelines.memory import Memory
from pipelines.runner import Runner
from pipelines.tasks import tasks
from pipelines.tasks.text_to_image import TextToImage
from studio.desk import Desk
from studio.drawer import Drawer
from tests.accounting import Host
from tests.bench.killing import killed


@pytest.fixture
def drawn() -> Iterator[dict[str, Any]]:
    """Text to image as a task that draws by itself; it lingers at each picture while `linger` is set."""
    hand: dict[str, Any] = {"linger": False, "began": []}

    def steps(request: TextToImage, memory: Memory, shelf: object) -> Iterator[Event]:
        hand["began"].append(request.prompt)
        if request.prompt == "break":
            raise StudioError("No.")
        done = []
        for k, single in enumerate(request.singles()):
            while hand["linger"] and k == 1:
                time.sleep(0.005)
                yield Progress(1, 2)
            done.append(Painted(Image.new("RGB", (8, 8), (single.seed or 0, 0, 0)), single))
            yield Finished(done[-1])
        return Result(tuple(done))

    from dataclasses import replace

    real = tasks.remove("text_to_image")
    tasks.add("text_to_image", replace(real, steps=steps))
    yield hand
    tasks.remove("text_to_image")
    tasks.add("text_to_image", real)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Any]:
    """Starts studios on one folder, one after another; `begin()` ends the one before it."""
    running: list[tuple[Runner, Library]] = []

    def end() -> None:
        while running:
            runner, library = running.pop()
            runner.close()
            library.close()

    def begin() -> tuple[Runner, Library]:
        end()
        library = Library(tmp_path)
        running.append((Runner(lambda: Memory(Host(), 2**24), library), library))
        return running[-1]

    yield begin
    end()


def ending(job: Any) -> Any:
    return list(job.events(timeout=20))[-1]


def until(is_so: Any) -> None:
    for _ in range(2000):
        if is_so():
            return
        time.sleep(0.005)
    raise TimeoutError


def request(prompt: str = "a cat", **values: Any) -> TextToImage:
    return TextToImage(prompt=prompt, seed=1, **values)


def test_the_line_comes_back_held_in_its_order_and_goes_on(studio: Any, drawn: dict[str, Any]) -> None:
    runner, _ = studio()
    drawn["linger"] = True
    first = runner.submit(request("first", count=3))
    second, third = (runner.submit(request(prompt)) for prompt in ("second", "third"))
    until(lambda: any(isinstance(event, Finished) for event in first.latest()))
    runner.advance(third)
    runner, library = studio()
    drawn["linger"] = False
    left = runner.restore()
    assert [(job.request.prompt, job.held, job.was_cut_off) for job in left] == [
        ("first", True, True), ("third", True, False), ("second", True, False),
    ]  # fmt: skip
    assert [job.id for job in left] == [first.id, third.id, second.id]
    time.sleep(0.05)
    assert drawn["began"] == ["first"] and [runner.position(job) for job in left] == [0, 0, 0]
    runner.go_on("")
    assert all(isinstance(ending(job), Done) for job in left)
    assert drawn["began"] == ["first", "first", "third", "second"]
    assert sorted((each.prompt, each.seed) for each in library.album.page("", Wanted())) == [
        ("first", 1), ("first", 2), ("first", 3), ("second", 1), ("third", 1),
    ]  # fmt: skip


def test_nothing_waits_again_that_has_ended(studio: Any, drawn: dict[str, Any]) -> None:
    runner, _ = studio()
    ending(runner.submit(request("a cat")))
    runner, _ = studio()
    assert runner.restore() == [] and runner.jobs() == []


def broken(runner: Runner, drawn: dict[str, Any]) -> tuple[Any, Any]:
    """A job that failed, and one that was stopped after its first picture of two."""
    failed = runner.submit(request("break"), "ann")
    assert isinstance(ending(failed), Failed)
    drawn["linger"] = True
    stopped = runner.submit(request("stopped", count=2), "ann")
    until(lambda: any(isinstance(event, Finished) for event in stopped.latest()))
    runner.stop(stopped)
    assert isinstance(ending(stopped), Cancelled)
    drawn["linger"] = False
    return failed, stopped


def test_what_broke_can_be_tried_again_after_a_restart(studio: Any, drawn: dict[str, Any]) -> None:
    broken(studio()[0], drawn)
    for _ in range(2):  # it outlives any number of studios
        runner, library = studio()
        assert runner.restore() == []
        failed, stopped = runner.jobs("ann")
        assert failed.ending == Failed("No.") and isinstance(stopped.ending, Cancelled) and not runner.jobs("bob")
    assert isinstance(ending(runner.retry(stopped)), Done)
    assert [each.seed for each in library.album.page("ann", Wanted())] == [2, 1]
    assert isinstance(ending(runner.retry(failed)), Failed)
    runner, _ = studio()
    runner.restore()
    assert [job.ending for job in runner.jobs("ann")] == [
        Failed("No.")
    ]  # tried again it broke again, and is there once
    runner.clear("ann")
    runner, _ = studio()
    runner.restore()
    assert runner.jobs() == []


def test_the_drawer_offers_what_broke_before_a_restart_to_be_tried_again(studio: Any, drawn: dict[str, Any]) -> None:
    broken(studio()[0], drawn)
    runner, library = studio()
    runner.restore()
    desk = Desk(runner, library, False, *[None] * 4)  # type: ignore[arg-type]  # what is shown needs no page
    assert [(each["state"], each["text"]) for each in Drawer(desk).shown("ann")["jobs"]] == [
        ("stopped", "Stopped."), ("failed", "No."),
    ]  # fmt: skip


def test_only_the_latest_that_broke_are_kept_and_not_for_ever(studio: Any, drawn: dict[str, Any]) -> None:
    runner, library = studio()
    for k in range(BROKEN_KEPT + 2):
        ending(runner.submit(request("break", count=k + 1), "ann"))
    ending(runner.submit(request("break"), "bob"))
    runner, library = studio()
    runner.restore()
    assert [job.request.count for job in runner.jobs("ann")] == list(range(3, BROKEN_KEPT + 3))
    assert len(runner.jobs("bob")) == 1
    assert library.tickets.sweep() == 0
    assert library.tickets.sweep(time.time()) == BROKEN_KEPT + 1  # as a host that keeps nothing would have it


def test_the_unfinished_jobs_of_a_living_studio_are_its_own(studio: Any, drawn: dict[str, Any], tmp_path: Path) -> None:
    runner, _ = studio()
    drawn["linger"] = True
    job = runner.submit(request(count=2))
    until(lambda: job.latest())
    library = Library(tmp_path)
    other = Runner(lambda: Memory(Host(), 2**24), library)
    assert other.restore() == []
    other.close()
    library.close()


def test_held_jobs_are_passed_over_and_others_go_on(studio: Any, drawn: dict[str, Any]) -> None:
    runner, _ = studio()
    drawn["linger"] = True
    running = runner.submit(request("running", count=2), "ann")
    until(lambda: running.latest())
    waiting, theirs = runner.submit(request("waiting"), "ann"), runner.submit(request("theirs"), "bob")
    assert [runner.position(each) for each in (waiting, theirs)] == [1, 2]
    runner.hold("ann")
    assert runner.position(theirs) == 1
    drawn["linger"] = False
    assert isinstance(ending(theirs), Done) and isinstance(ending(running), Done)
    assert waiting.ending is None and waiting.held
    runner.go_on("bob")
    assert waiting.held
    runner.go_on("ann")
    assert isinstance(ending(waiting), Done)


def test_a_job_passes_only_jobs_of_its_owner(studio: Any, drawn: dict[str, Any]) -> None:
    runner, _ = studio()
    drawn["linger"] = True
    running = runner.submit(request(count=2))
    until(lambda: running.latest())
    theirs, mine, last = (
        runner.submit(request(), "bob"),
        runner.submit(request(), "ann"),
        runner.submit(request(), "ann"),
    )
    runner.advance(last)
    assert [runner.position(each) for each in (theirs, last, mine)] == [1, 2, 3]
    runner.clear("ann")
    assert isinstance(mine.ending, Cancelled) and isinstance(last.ending, Cancelled) and theirs.ending is None


def test_a_stopped_job_is_retried_from_where_it_was(studio: Any, drawn: dict[str, Any]) -> None:
    runner, library = studio()
    drawn["linger"] = True
    job = runner.submit(request(count=3))
    until(lambda: any(isinstance(event, Finished) for event in job.latest()))
    runner.stop(job)
    ending(job)
    drawn["linger"] = False
    again = runner.retry(job)
    assert isinstance(ending(again), Done)
    assert sorted(each.seed for each in library.album.page("", Wanted())) == [1, 2, 3]
    failed = runner.submit(request("break"))
    assert isinstance(ending(failed), Failed) and runner.retry(failed).request == failed.request


@pytest.mark.parametrize(("made", "seeds"), [(0, [5, 6, 7]), (1, [6, 7]), (2, [7]), (3, None), (4, [5, 6, 7])])
def test_the_rest_of_a_request_is_its_own_pictures(made: int, seeds: list[int] | None) -> None:
    left = rest(TextToImage(seed=5, count=3), made)
    assert (left and [each.seed for each in left.singles()]) == seeds


def test_a_full_library_takes_no_job_and_says_what_to_do(studio: Any, drawn: dict[str, Any]) -> None:
    runner, library = studio()
    ending(runner.submit(request()))
    library.quota = 1
    with pytest.raises(StudioError, match="empty the bin"):
        runner.submit(request())
    library.quota = None
    assert isinstance(ending(runner.submit(request())), Done)


def test_five_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    seen = killed(tmp_path, kills=5, seed=0, model="drawn")
    assert seen["cut"] >= 1 and seen["listed"] > 0
