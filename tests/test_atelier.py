"""What the tab Personalize is told of a training, and the tray of its pictures, without a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from pipelines.events import Cancelled, Done, Lesson, Proof, Remark, Result, Taught
from pipelines.job import Job
from pipelines.library import Library
from pipelines.subjects import MOST
from pipelines.tasks.personalize import Personalize
from pipelines.training.backdrops import Backdrop
from pipelines.training.scenes import Item, Scene, draw, places, strangers
from studio.lessons import ROUNDS, course, proofs, watched
from studio.tray import Tray

THING = next(iter(strangers))
PICTURE = Image.new("RGB", (32, 32), "teal")


class Line:
    """A line in which nothing is before anything."""

    def position(self, _: Job) -> int:
        return 0


def training(**values: Any) -> Job:
    return Job(Personalize(word="zorp", kind="cat", **values), "")


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path)


@pytest.fixture
def upload(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Has a picture uploaded, as a page says it."""
    folder = Path(get_upload_folder()) / tmp_path.name
    folder.mkdir(parents=True, exist_ok=True)

    def sent(name: str, picture: Image.Image | bytes) -> dict[str, Any]:
        path = folder / name
        path.write_bytes(picture) if isinstance(picture, bytes) else picture.save(path)
        return {"path": str(path), "name": name, "size": path.stat().st_size}

    return sent


def shown(k: int) -> Image.Image:
    place = list(places)[k]
    return draw(Scene((Item(THING, 0.5, 0.5),), Backdrop(place, k)))


def test_the_tray_keeps_good_pictures_names_bad_ones_and_leaves_no_upload(library: Library, upload: Any) -> None:
    tray = Tray(library)
    files = [
        upload("a.png", shown(0)),
        upload("b.png", shown(1)),
        upload("c.png", b"<html>"),
        upload("d.png", shown(0)),
    ]
    left_out = tray.bring("ann", {"files": files})
    assert [label for _, label in tray.held("ann")] == ["a.png", "b.png"]
    assert [each.split()[0] for each in left_out] == ["c.png", "d.png"]
    assert not any(Path(each["path"]).exists() for each in files)
    assert tray.held("ben") == []
    again = Tray(library)  # another start of the studio
    assert again.names("ann") == tray.names("ann")
    again.remove("ann", again.names("ann")[0])
    assert [each["label"] for each in again.shown("ann", 256)["pictures"]] == ["b.png"]
    again.remove("ann", "")
    assert again.names("ann") == ()


def test_a_file_that_is_no_upload_is_not_read(library: Library, tmp_path: Path) -> None:
    elsewhere = tmp_path / "secret.png"
    shown(2).save(elsewhere)
    tray = Tray(library)
    said = tray.bring("ann", {"files": [{"path": str(elsewhere), "name": "secret.png"}], "beyond": 270})
    assert tray.held("ann") == []
    assert elsewhere.exists()
    assert said[-1] == f"{MOST} pictures are the most; 270 more were left out."


def test_losses_stay_after_the_end_and_name_what_was_taught() -> None:
    job = training(steps=40)
    job.say(Remark("The rate was halved."))
    job.say(Lesson(20, 40, seconds_left=9.0, losses=((10, 0.5), (20, 0.25))))
    now = course(job, Line())  # type: ignore[arg-type]
    assert (now["state"], now["step"], now["losses"], now["left"]) == ("working", 20, [[10, 0.5], [20, 0.25]], 9.0)
    job.say(Taught("zorp", 40, ((10, 0.5), (40, 0.1))))
    job.say(Done(Result(()), 12.0))
    ended = course(job, Line())  # type: ignore[arg-type]
    assert (ended["state"], ended["name"], ended["losses"][-1]) == ("done", "zorp", [40, 0.1])
    assert ended["text"].startswith("Taught 40 steps in 12 s")
    assert ended["remarks"] == ["The rate was halved."]


def test_before_the_first_step_no_time_left_is_made_up() -> None:
    job = training(steps=40)
    job.say(Lesson(0, 40))
    assert course(job, Line())["text"] == "Step 0 of 40"  # type: ignore[arg-type]
    assert "left" not in course(job, Line())  # type: ignore[arg-type]


def test_a_page_is_sent_the_first_and_the_last_samples_and_the_whole_comparison() -> None:
    job = training()
    for step in range(0, 500, 10):
        job.say(Proof(step, "a {}", PICTURE))
    for weight in (0.0, 0.5, 1.0):
        job.say(Proof(490, "a {}", PICTURE, weight, loaded=True))
    sent = proofs(job)
    steps = [each["step"] for each in sent if not each["loaded"]]
    assert len(steps) == ROUNDS
    assert (steps[0], steps[-1]) == (0, 490)
    assert [each["weight"] for each in sent if each["loaded"]] == [0.0, 0.5, 1.0]
    assert sent[0]["url"].startswith("data:image/jpeg")
    assert {each["prompt"] for each in sent} == {"a zorp"}


def test_a_page_watches_what_goes_on_before_what_was_paused_before_what_ended() -> None:
    ended, paused, going = training(), training(), training()
    ended.say(Cancelled())
    paused.held = True
    assert watched([ended, paused, going]) is going
    assert watched([ended, paused]) is paused
    assert watched([ended]) is ended
    assert watched([]) is None
    assert course(paused, Line())["state"] == "paused"  # type: ignore[arg-type]
    assert course(None, Line())["state"] == "idle"  # type: ignore[arg-type]
