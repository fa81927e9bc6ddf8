"""The runner: events in order, one ending, a stop that frees the lane, and a next job that always runs."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from pipelines import tasks as task_module
from pipelines.errors import Busy, StudioError
from pipelines.events import Cancelled, Done, Event, Failed, Finished, Painted, Progress, Result, Stage
from pipelines.library import Library
from pipelines.memory import Memory
from pipelines.parts import Part
from pipelines.pictures import recipe
from pipelines.request import Request
from pipelines.runner import Runner
from pipelines.shelf import Shelf
from pipelines.tasks import parse, task, tasks
from tests.accounting import Host, linear


class Scripted(Request):
    """Does what a test tells it to."""

    task: Literal["scripted"] = "scripted"
    act: str = "finish"


class Stagehand:
    """What the scripted task and the test share: a gate between steps, and how often it began."""

    def __init__(self) -> None:
        self.gate, self.began, self.closed = threading.Event(), 0, 0


@pytest.fixture
def stage() -> Iterator[Stagehand]:
    hand = Stagehand()

    def steps(request: Scripted, memory: Memory, shelf: Shelf) -> Iterator[Event]:
        hand.began += 1
        try:
            with memory.use(linear("scripted", 1)):
                yield Stage("begun")
                if request.act == "break":
                    raise RuntimeError("a bug with /secret/paths")
                if request.act == "refuse":
                    raise StudioError("That cannot be painted.")
                if request.act == "exhaust" or (request.act == "exhaust once" and hand.began == 1):
                    raise torch.OutOfMemoryError("too much")
                for k in range(1000 if request.act == "linger" else 2):
                    yield Progress(k + 1, 1000)
                    if request.act == "linger":
                        hand.gate.wait(0.01)
            return Result(())
        finally:
            hand.closed += 1

    task(Scripted)(steps)
    yield hand
    tasks.remove("scripted")


@pytest.fixture
def runner() -> Iterator[Runner]:
    runner = Runner(lambda: Memory(Host(), 2**24))
    yield runner
    runner.close()


def heard(job: Any) -> list[Event]:
    return list(job.events(timeout=20))


def paints(runner: Runner) -> bool:
    return isinstance(heard(runner.submit(Scripted()))[-1], Done)


def test_events_come_in_order_and_end_once(runner: Runner, stage: Stagehand) -> None:
    events = heard(runner.submit(Scripted()))
    assert isinstance(events[0], Stage) and isinstance(events[-1], Done)
    assert [each.step for each in events if isinstance(each, Progress)] == sorted(
        each.step for each in events if isinstance(each, Progress)
    )
    assert not [each for each in events[:-1] if isinstance(each, (Done, Failed, Cancelled))]


def test_a_late_watcher_hears_the_ending_and_a_second_one_hears_the_same(runner: Runner, stage: Stagehand) -> None:
    job = runner.submit(Scripted())
    heard(job)
    assert isinstance(heard(job)[-1], Done) and heard(job) == heard(job)


def test_a_seed_is_drawn_before_the_job_runs(runner: Runner, stage: Stagehand) -> None:
    assert runner.submit(Scripted()).request.seed is not None


def test_stopping_a_running_job_ends_it_within_a_step_and_returns_all_models(runner: Runner, stage: Stagehand) -> None:
    job = runner.submit(Scripted(act="linger"))
    watcher = job.events(timeout=20)
    while not isinstance(next(watcher), Progress):
        pass
    runner.stop(job)
    assert isinstance(heard(job)[-1], Cancelled)
    assert stage.closed == 1 and runner.memory is not None
    assert [each.lent for each in runner.memory.residents()] == [0]
    assert paints(runner)


def test_stopping_a_waiting_job_ends_it_at_once_and_it_never_begins(runner: Runner, stage: Stagehand) -> None:
    first, second = (runner.submit(Scripted(act="linger")) for _ in range(2))
    assert runner.position(second) in (1, 2)
    runner.stop(second)
    assert isinstance(second.ending, Cancelled)
    runner.stop(first)
    heard(first)
    assert stage.began <= 1 and paints(runner)


@pytest.mark.parametrize(
    ("act", "words"),
    [("break", "Something broke inside"), ("refuse", "That cannot be painted."), ("exhaust", "not enough memory")],
)
def test_whatever_breaks_is_one_sentence_and_the_next_job_runs(
    runner: Runner, stage: Stagehand, act: str, words: str
) -> None:
    ending = heard(runner.submit(Scripted(act=act)))[-1]
    assert isinstance(ending, Failed) and words in ending.text and "/secret" not in ending.text
    assert stage.began == stage.closed == (2 if act == "exhaust" else 1)
    assert paints(runner)


def test_out_of_memory_once_is_survived(runner: Runner, stage: Stagehand) -> None:
    assert isinstance(heard(runner.submit(Scripted(act="exhaust once")))[-1], Done)
    assert stage.began == 2


def test_memory_after_every_kind_of_ending_is_that_of_what_is_resident(runner: Runner, stage: Stagehand) -> None:
    paints(runner)
    assert runner.memory is not None
    before = runner.memory.used()
    for act in ("finish", "break", "refuse", "exhaust", "finish"):
        heard(runner.submit(Scripted(act=act)))
    assert runner.memory.used() <= before
    assert all(each.lent == 0 for each in runner.memory.residents())


def test_a_full_queue_says_so(runner: Runner, stage: Stagehand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.runner.LONGEST_QUEUE", 2)
    jobs = [runner.submit(Scripted(act="linger"))]
    while not jobs[0].latest():
        time.sleep(0.01)
    jobs += [runner.submit(Scripted(act="linger")) for _ in range(2)]
    with pytest.raises(Busy):
        runner.submit(Scripted())
    for job in jobs:
        runner.stop(job)


def test_jobs_are_listed_by_owner(runner: Runner, stage: Stagehand) -> None:
    mine, theirs = runner.submit(Scripted(), "me"), runner.submit(Scripted(), "them")
    assert runner.jobs("me") == [mine] and runner.jobs() == [mine, theirs]


def test_an_owner_sees_only_own_jobs_end(runner: Runner, stage: Stagehand) -> None:
    mine, theirs = runner.submit(Scripted(act="linger"), "me"), runner.submit(Scripted(), "them")
    runner.stop(mine)
    assert isinstance(heard(theirs)[-1], Done)


def test_a_chore_waits_for_no_job_and_cannot_break_the_lane(runner: Runner, stage: Stagehand) -> None:
    done = threading.Event()
    runner.chore(lambda memory: 1 / 0)
    runner.chore(lambda memory: done.set())
    assert done.wait(10) and paints(runner)


def test_a_chore_makes_way_for_a_job(runner: Runner, stage: Stagehand) -> None:
    began, ended = threading.Event(), threading.Event()

    def linger(memory: Memory) -> None:
        began.set()
        try:
            for _ in range(1000):
                memory.check()
                time.sleep(0.01)
        finally:
            ended.set()

    runner.chore(linger)
    assert began.wait(10) and not ended.is_set()
    assert paints(runner) and ended.is_set()


def test_closing_ends_a_running_job() -> None:
    threads = threading.active_count()
    runner = Runner(lambda: Memory(Host(), 2**24))
    runner.close()
    assert threading.active_count() == threads


def test_a_device_that_cannot_start_fails_each_job_in_a_sentence(stage: Stagehand) -> None:
    def broken() -> Memory:
        raise OSError("no such device")

    runner = Runner(broken)
    ending = heard(runner.submit(Scripted()))[-1]
    assert isinstance(ending, Failed) and "could not start its device" in ending.text
    runner.close()


def test_finished_pictures_are_kept_before_the_job_ends(toy: object, tmp_path: Path) -> None:
    runner = Runner(lambda: Memory(Host()), Library(tmp_path))
    request = parse(
        {"task": "text_to_image", "model": "toy", "steps": 2, "width": 64, "height": 64, "count": 2, "seed": 4}
    )
    events = heard(runner.submit(request, "me"))
    runner.close()
    finished = [each.painted for each in events if isinstance(each, Finished)]
    done = events[-1]
    assert isinstance(done, Done) and done.result.pictures == tuple(finished)
    assert [each.picture for each in finished] == [None, None]  # the picture is in its file from now on
    assert [parse(recipe(each.file or "")) for each in finished] == [each.request for each in finished]
    assert all(isinstance(each, Painted) and each.request.seed in (4, 5) for each in finished)


def test_a_stop_ends_a_network_between_its_blocks(stage: Stagehand) -> None:
    ran: list[int] = []
    blocks = torch.nn.ModuleList([torch.nn.Identity() for _ in range(3)])
    for k, block in enumerate(blocks):
        block.register_forward_hook(lambda *_, k=k: (ran.append(k), job.stop())[0])
    net = torch.nn.Sequential(torch.nn.ModuleDict({"blocks": blocks}))  # type: ignore[dict-item]
    part = Part("net", "net", 1, 8, lambda kind: net)

    def steps(request: Scripted, memory: Memory, shelf: Shelf) -> Iterator[Event]:
        with memory.use(part):
            yield Stage("decoding")
            for block in blocks:
                block(torch.zeros(1))
        return Result(())

    tasks.remove("scripted")
    task(Scripted)(steps)
    runner = Runner(lambda: Memory(Host(), 2**24))
    job = runner.submit(Scripted())
    assert isinstance(heard(job)[-1], Cancelled) and ran == [0]
    assert runner.memory is not None and [each.lent for each in runner.memory.residents()] == [0]
    runner.close()


def test_events_of_a_task_are_outside_of_autograd_and_the_consumer_is_not(stage: Stagehand) -> None:
    running = task_module.run(Scripted(), Memory(Host(), 2**24))
    next(running)
    assert not torch.is_inference_mode_enabled()
    running.close()
    assert stage.closed == 1
