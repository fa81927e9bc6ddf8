"""Kills a working studio at random moments, again and again: no finished picture may be lost, no broken file listed,
and every restart must come up, offer what was cut off, and paint.

python -m tests.bench.killing [--kills 100] [--seed 0]
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import tempfile
import threading
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from pipelines.library import Library
from pipelines.library.album import Wanted
from pipelines.pictures import opened, recipe

PROCESSES = multiprocessing.get_context("forkserver")  # each is one of its own; only what they import is read once
PROCESSES.set_forkserver_preload(["torch", "diffusers", "pipelines.runner", "pipelines.painting", "tests.accounting"])
JOBS, COUNT = 3, 4  # put in line at each start; pictures of each
DEEP = 12  # jobs from before; where so many wait, none is added


def studio(folder: Path, jobs: int, model: str, mouth: Connection) -> None:
    """A studio without a page: takes over what was left, adds jobs, and says each picture that it has finished."""
    from pipelines.events import Finished
    from pipelines.memory import Memory
    from pipelines.runner import Runner
    from pipelines.tasks.text_to_image import TextToImage
    from tests.accounting import Host

    if model == "drawn":
        draw_by_itself()
    library = Library(folder)
    runner = Runner(lambda: Memory(Host(), 2**30), library)
    mouth.send("up")
    line = runner.restore()
    runner.go_on("")
    asked = {"model": "pocket", "width": 64, "height": 64, "steps": 2, "count": COUNT}
    for k in range(jobs if len(line) < DEEP else 0):
        line.append(runner.submit(TextToImage(prompt=f"picture {k}", **asked)))
        mouth.send("asked")
    for job in line:
        for event in job.events(timeout=300):
            if isinstance(event, Finished):
                mouth.send(f"kept {event.painted.file}")
    mouth.send("done")
    runner.close()
    library.close()


def draw_by_itself() -> None:
    """Let text to image draw noise: networks cost seconds at each start, and are not what dies here."""
    from PIL import Image

    from pipelines.events import Finished, Painted, Progress, Result
    from pipelines.tasks import tasks
    from pipelines.tasks.text_to_image import TextToImage

    def drawn(request: TextToImage, memory: object, shelf: object):  # type: ignore[no-untyped-def]
        done = []
        for single in request.singles():
            for k in range(3):
                time.sleep(0.004)
                yield Progress(k + 1, 3)
            done.append(Painted(Image.effect_noise((96, 96), single.seed % 200).convert("RGB"), single))
            yield Finished(done[-1])
        return Result(tuple(done))

    tasks.add("text_to_image", replace(tasks.remove("text_to_image"), steps=drawn))


def watched(work: tuple[Path, int, str], after: float | None) -> tuple[list[str], float]:
    """What a studio says until it ends by itself, or is killed so many seconds after its first word; seconds from it."""
    ear, mouth = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=studio, args=(*work, mouth))
    process.start()
    mouth.close()
    said: list[str] = []
    begun = time.monotonic()
    while True:
        try:
            word = ear.recv()
        except EOFError:
            break
        if not said:
            begun = time.monotonic()
            if after is not None:
                threading.Timer(after, process.kill).start()
        said.append(word)
    process.join()
    return said, time.monotonic() - begun


def checked(folder: Path, finished: set[str]) -> int:
    """How many pictures are listed, once it is certain that each is whole and none that was finished is missing."""
    library = Library(folder)
    library.take_in()
    listed = library.album.page("", Wanted(), count=100_000)
    for each in listed:
        assert opened(each.file).size == (each.width, each.height) and recipe(each.file) == each.request, each.file
    missing = finished - {str(each.file) for each in listed}
    assert not missing, f"lost: {missing}"
    assert len({(each.job, each.seed) for each in listed}) == len(listed), "a picture was painted twice"
    library.close()
    return len(listed)


def killed(folder: Path, kills: int, seed: int, model: str) -> dict[str, int]:
    """Kill a studio so many times, then let it finish; counts of what happened. Raises AssertionError."""
    chance, finished, cut, asked = random.Random(seed), set[str](), 0, 0
    span = 0.0  # seconds that a studio works when nobody kills it
    for k in range(kills + 2):  # the first and the last may end by themselves
        whole = k in (0, kills + 1)
        said, took = watched((folder, JOBS, model), None if whole else chance.uniform(0, span))
        assert said, "the studio did not come up"
        assert not whole or said[-1] == "done", "a studio that nobody killed did not finish"
        span = took if k == 0 else span
        cut += "done" not in said
        asked += said.count("asked")
        finished |= {line.removeprefix("kept ") for line in said if line.startswith("kept ")}
        listed = checked(folder, finished)
        if k % 10 == 0:
            print(f"{k} kills: {asked} jobs, {listed} pictures", flush=True)
    assert listed >= asked * COUNT, f"{asked * COUNT} pictures were asked for, {listed} are here"
    return {"kills": kills, "cut": cut, "jobs": asked, "listed": listed}


def main() -> None:
    """Print what survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="pocket", choices=["pocket", "drawn"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seen = killed(Path(folder), asked.kills, asked.seed, asked.model)
    print(
        f"{seen['kills']} kills, {seen['cut']} of them in the middle of work; {seen['jobs']} jobs of {COUNT} pictures; "
        f"{seen['listed']} pictures listed, all whole, none lost, none twice; every restart came up, and the last finished"
    )


if __name__ == "__main__":
    main()
