"""Teaching: whatever interrupts it, the same adapter comes of it; nothing that others use changes; its word works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from PIL import Image, ImageChops, ImageDraw
from safetensors.torch import load_file
from torch import Tensor

from pipelines import course
from pipelines.errors import BadRequest, StudioError, UnknownName
from pipelines.events import Cancelled, Done, Finished, Lesson, Proof, Remark, Taught
from pipelines.library import Library
from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder, models
from pipelines.models.adapters import adapters
from pipelines.personalizers import personalizers
from pipelines.runner import Runner
from pipelines.shelf import FolderShelf
from pipelines.study import Study
from pipelines.tasks import run
from pipelines.tasks.personalize import MOST, Personalize
from pipelines.tasks.text_to_image import TextToImage
from pipelines.workshop import Workshop
from tests.accounting import Host
from tests.tiny import checkpoints
from tests.tiny.adapters import footprint

ROOT = Path(__file__).parents[1]
SIDE = 64


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The order of sums, and so the last bit, depends on how many threads share them; another process has its own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawn(seed: int, side: int = SIDE) -> Image.Image:
    """A ring in one colour before another: much the same subject each time, elsewhere."""
    rng = Random(seed)
    picture = Image.new("RGB", (side, side), tuple(rng.randrange(256) for _ in range(3)))
    x, y = rng.randrange(side // 2), rng.randrange(side // 2)
    ImageDraw.Draw(picture).ellipse((x, y, x + side // 2, y + side // 2), outline=(255, 0, 0), width=6)
    return picture


@pytest.fixture
def memory() -> Memory:
    return Memory(Host(), 2**30)


def asked(shelf: FolderShelf, **values: Any) -> Personalize:
    names = tuple(shelf.put(drawn(k)) for k in range(3))
    usual = {"model": "toy", "pictures": names, "word": "zorp", "steps": 6, "samples": (), "seed": 5, "places": 2}
    usual["method"] = {"name": "dreambooth_lora", "knobs": {"rank": 2}}
    return Personalize(**usual | values)


def taught(request: Personalize, memory: Memory, shelf: FolderShelf) -> list[Any]:
    return list(run(request, memory, shelf))


def left_after(request: Personalize, memory: Memory, shelf: FolderShelf, lessons: int) -> None:
    """Begin a training and leave it after so many lessons, as a pause, a stop or another job does."""
    running = run(request, memory, shelf)
    for event in running:
        if isinstance(event, Lesson) and event.step == lessons:
            break
    running.close()


def learned(word: str = "zorp") -> dict[str, Tensor]:
    return load_file(adapters[word].path)


def forget(word: str = "zorp") -> None:
    adapters.remove(word).path.unlink()


def levels_apart(one: Image.Image, other: Image.Image) -> int:
    """The largest difference of any channel of any pixel, of 255."""
    return int(max(high for _, high in ImageChops.difference(one, other).getextrema()))


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def picture(memory: Memory, prompt: str, **values: Any) -> bytes:
    request = TextToImage(model="toy", prompt=prompt, width=SIDE, height=SIDE, steps=3, seed=2, **values)
    (painted,) = [event.painted for event in run(request, memory) if isinstance(event, Finished)]
    assert painted.picture is not None
    return painted.picture.tobytes()


def test_a_training_says_its_lessons_and_proofs_and_leaves_an_adapter(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    events = taught(asked(shelf, samples=("a {} on a house",), every=3, licence="CC0"), memory, shelf)
    assert [each.step for each in events if isinstance(each, Lesson) and each.losses][-1] == 6
    proofs = [(each.step, each.weight, each.loaded) for each in events if isinstance(each, Proof)]
    assert proofs == [(0, 0, False), (3, 1, False), (6, 1, False), (6, 0, True), (6, 0.5, True), (6, 1, True)]
    assert [each.name for each in events if isinstance(each, Taught)] == ["zorp"]
    notes, ours = adapters["zorp"].notes, adapters["zorp"].ours
    assert notes["modelspec.license"] == "CC0" and notes["modelspec.trigger_phrase"] == "zorp"
    assert notes["modelspec.thumbnail"].startswith("data:image/webp;base64,")
    assert ours["model"] == "toy" and ours["steps"] == 6 and ours["method"]["name"] == "dreambooth_lora"
    assert len(notes["modelspec.thumbnail"]) < 8000


def test_the_last_proof_is_what_the_file_paints_loaded_afresh(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    events = taught(asked(shelf, samples=("a {}",), every=100, rate=0.05), memory, shelf)
    before, after = [each for each in events if isinstance(each, Proof) and each.weight == 1]
    assert not before.loaded and after.loaded
    assert levels_apart(before.picture, after.picture) <= 1
    (base,) = [each for each in events if isinstance(each, Proof) and each.step == 0]
    assert levels_apart(base.picture, after.picture) > 8


@pytest.mark.parametrize("method", personalizers)
def test_what_is_learned_explains_the_pictures_better(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error at the same noise, before the first step and after the last."""
    found: list[float] = []

    def watched(request: Any, subject: Any, pupil: Any, study: Any, *rest: Any) -> Any:
        def measured() -> float:
            with pupil.lent(), torch.no_grad():
                return sum(float(each) for k in range(8) for each in pupil.losses(torch.Generator().manual_seed(k), k))

        found.append(measured())
        yield from course_schooled(request, subject, pupil, study, *rest)
        found.append(measured())

    course_schooled = course.schooled
    monkeypatch.setattr(course, "schooled", watched)
    taught(asked(shelf, steps=40, rate=0.01, kind="cat", method=method), memory, shelf)
    assert found[1] < 0.95 * found[0]


@pytest.mark.parametrize("lessons", [1, 3, 5])
def test_a_training_that_was_left_reaches_the_weights_of_one_that_was_not(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, lessons: int
) -> None:
    request = asked(shelf, kind="cat", mirrored=True)
    taught(request, memory, shelf)
    whole = learned()
    forget()
    left_after(request, memory, shelf, lessons)
    assert "zorp" not in adapters
    taught(request, Memory(Host(), 2**30), shelf)
    assert apart(whole, learned()) < 1e-5


def test_a_training_whose_process_was_killed_reaches_the_same_weights(
    toy: ModelSpec, toy_folder: Path, memory: Memory, shelf: FolderShelf, tmp_path: Path
) -> None:
    request = asked(shelf, steps=20)
    script = (
        "import sys; from pathlib import Path; from pipelines import course; from pipelines.models import models, load_folder\n"
        "from pipelines.memory import Memory; from tests.accounting import Host; from pipelines.shelf import FolderShelf\n"
        "from pipelines.tasks import parse, run; import json; import torch; torch.set_num_threads(1)\n"
        "course.SAVED = 0.0\n"
        "models.add('toy', load_folder(Path(sys.argv[1]), 'toy', title='Toy'))\n"
        "for event in run(parse(json.loads(sys.argv[2])), Memory(Host(), 2**30), FolderShelf(Path(sys.argv[3]))):\n"
        "    print(type(event).__name__, getattr(event, 'step', ''), flush=True)\n"
    )
    words = [sys.executable, "-c", script, str(toy_folder / "toy"), request.to_json(), str(shelf.folder)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Lesson") and int(line.split()[1]) >= 4:
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    state = shelf.workshop().run(request).state
    assert state.exists()
    events = taught(request, memory, shelf)
    assert next(each.step for each in events if isinstance(each, Lesson)) >= 3
    resumed = learned()
    forget()
    taught(request, memory, shelf)
    assert apart(resumed, learned()) < 1e-5


def test_nothing_that_others_use_changes(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    before = picture(memory, "a cat")
    with memory.use(toy.net) as net:
        marks = footprint(net)
    files = {path: path.read_bytes() for path in Path(str(toy.plans)).parent.rglob("*.safetensors")}
    taught(asked(shelf, rate=0.1), memory, shelf)
    with memory.use(toy.net) as net:
        assert footprint(net) == marks
    assert picture(memory, "a cat") == before
    assert {path: path.read_bytes() for path in files} == files
    assert not [each for each in memory.residents() if each.part.key.endswith("taught")]


def test_the_word_puts_the_adapter_on_in_every_prompt(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    bare = picture(memory, "a zorp cat in a house")
    taught(asked(shelf, kind="cat", rate=0.05), memory, shelf)
    said = picture(memory, "a zorp in a house")
    assert said != bare
    assert said == picture(memory, "a zorp cat in a house") == picture(memory, "a <zorp:1> in a house")
    assert said == picture(memory, "a zorp in a house", adapters=("zorp",))
    assert bare == picture(memory, "a <zorp:0> in a house")
    half = picture(memory, "a <zorp:0.5> in a house")
    assert half not in (said, bare) and half == picture(memory, "a zorp in a house<zorp:0.5>")
    assert picture(memory, "a cat in a house") != said


def test_two_subjects_are_worn_together(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    taught(asked(shelf, rate=0.05), memory, shelf)
    taught(asked(shelf, rate=0.05, word="blick", seed=9), memory, shelf)
    both = picture(memory, "a zorp and a blick")
    assert both not in (picture(memory, "a zorp and a <blick:0>"), picture(memory, "a <zorp:0> and a blick"))


def test_a_step_into_nothing_is_taken_back(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = Study.learn
    hurt = []

    def hurting(study: Study, losses: Callable[[Any], Any]) -> str:
        if study.step == 3 and not hurt:
            hurt.append(study.step)
            with torch.no_grad():
                next(iter(study.weights.values())).fill_(float("nan"))
        return learn(study, losses)

    monkeypatch.setattr(Study, "learn", hurting)
    events = taught(asked(shelf), memory, shelf)
    (remark,) = [each.text for each in events if isinstance(each, Remark)]
    assert "Step 4 led nowhere: the loss was no number. Taken back to step 0, at half the rate." in remark
    assert all(each.isfinite().all() for each in learned().values())


def test_what_cannot_be_learned_is_given_up_with_a_sentence_and_no_adapter(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = Study.learn

    def poisoned(study: Study, losses: Callable[[Any], Any]) -> str:
        return learn(study, lambda chance: (each * float("inf") for each in losses(chance)))

    monkeypatch.setattr(Study, "learn", poisoned)
    with pytest.raises(StudioError, match="could not be learned: the loss was no number again and again"):
        taught(asked(shelf), memory, shelf)
    assert "zorp" not in adapters and not list((shelf.folder.parent / "adapters").glob("*"))


def test_enough_keeps_what_there_is(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    request = asked(shelf, steps=1000)
    left_after(request, memory, shelf, 3)
    shelf.workshop().run(request).enough()
    events = taught(request, memory, shelf)
    assert [each.steps for each in events if isinstance(each, Taught)] == [3]
    assert adapters["zorp"].ours["steps"] == 3


def test_a_training_that_is_left_while_it_shows_its_adapter_is_done(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    request = asked(shelf, steps=1, samples=("a {}",))
    running = run(request, memory, shelf)
    next(each for each in running if isinstance(each, Taught))
    running.close()
    kept = adapters["zorp"].path.read_bytes()
    events = taught(request, memory, shelf)
    assert not [each for each in events if isinstance(each, Lesson)] and adapters["zorp"].path.read_bytes() == kept
    assert [each.weight for each in events if isinstance(each, Proof)] == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"pictures": ()}, "Pictures: add at least one"),
        ({"word": ""}, "Word: the subject needs a name"),
        ({"captions": ("a {}",)}, "Captions: 1 for 3 pictures"),
        ({"captions": ("a cat",) * 3}, "Captions: each needs {}"),
        ({"pictures": ("0" * 32,)}, "Pictures: number 1 cannot be used"),
        ({"model": "gone"}, "There is no model called 'gone'"),
    ],
)
def test_what_cannot_be_begun_is_said_before_the_first_step(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, values: dict[str, Any], words: str
) -> None:
    request = asked(shelf, **values)
    with pytest.raises(StudioError) as error:
        taught(request, memory, shelf)
    assert words in str(error.value) and not (shelf.folder / "trainings").exists()
    with pytest.raises(StudioError):
        request.expected(memory, shelf)


def test_pictures_that_cannot_be_used_are_named(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    good, speck = shelf.put(drawn(1)), shelf.put(Image.new("RGB", (1, 1)))
    with pytest.raises(BadRequest, match=r"number 2 cannot be used\. It has 1 x 1 pixels, and 32 x 32 are the least"):
        taught(asked(shelf, pictures=(good, speck)), memory, shelf)
    broken = shelf.put(drawn(7))
    file = shelf.folder / f"{broken}.png"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(BadRequest, match=r"number 2 cannot be used\. The picture is damaged"):
        taught(asked(shelf, pictures=(good, broken)), memory, shelf)


def test_more_pictures_than_there_may_be_are_refused_by_the_request(shelf: FolderShelf) -> None:
    with pytest.raises(ValueError, match="at most 30"):
        Personalize(pictures=("0" * 32,) * (MOST + 1))


def test_a_word_that_is_taken_is_refused(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    taught(asked(shelf, steps=1), memory, shelf)
    kept = adapters["zorp"].path.read_bytes()
    with pytest.raises(BadRequest, match="Word: there is an adapter called 'zorp' already"):
        taught(asked(shelf, seed=6), memory, shelf)
    assert adapters["zorp"].path.read_bytes() == kept


def test_a_full_disk_is_said_before_the_first_step(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workshop, "room", lambda _: 2**20)
    with pytest.raises(StudioError, match="The disk has 1 MB left"):
        taught(asked(shelf), memory, shelf)


def test_a_model_that_is_removed_on_the_way_loses_nothing(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    request = asked(shelf)
    left_after(request, memory, shelf, 3)
    models.remove("toy")
    try:
        with pytest.raises(UnknownName):
            taught(request, memory, shelf)
    finally:
        models.add("toy", toy)
    events = taught(request, memory, shelf)
    assert next(each.step for each in events if isinstance(each, Lesson)) == 3


FAMILIES: dict[str, Callable[[Path], Any]] = {
    "v": lambda folder: checkpoints.stable_diffusion(folder, prediction="v_prediction"),
    "sdxl": checkpoints.sdxl,
    "sd3": checkpoints.sd3,
    "flux": checkpoints.flux,
    "sana": checkpoints.sana,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_taught_and_its_file_does_what_was_learned(
    family: str, memory: Memory, shelf: FolderShelf, tmp_path: Path
) -> None:
    FAMILIES[family](tmp_path / family)
    spec = models.add(family, load_folder(tmp_path / family, family))
    try:
        request = asked(shelf, model=family, steps=2, samples=("a {}",), every=2, rate=0.05)
        events = taught(request, memory, shelf)
    finally:
        models.remove(family)
    assert spec.family
    own, loaded = [each for each in events if isinstance(each, Proof) and each.weight == 1]
    (base,) = [each for each in events if isinstance(each, Proof) and each.step == 0]
    assert levels_apart(own.picture, loaded.picture) <= 1  # where a buffer lies decides the last bit of its sums
    assert levels_apart(base.picture, loaded.picture) > 8


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[tuple[Runner, Library]]:
    library = Library(tmp_path / "library")
    runner = Runner(lambda: Memory(Host(), 2**30), library)
    yield runner, library
    runner.close()
    library.close()
    for name in [name for name, spec in adapters.items() if spec.path.is_relative_to(tmp_path)]:
        adapters.remove(name)


def until(job: Any, step: int, seconds: float = 60) -> None:
    """Wait until a training has come to a step."""
    end = time.monotonic() + seconds
    while not any(isinstance(event, Lesson) and event.step >= step for event in job.latest()):
        assert job.ending is None and time.monotonic() < end
        time.sleep(0.01)


def test_a_painting_comes_between_two_steps_of_a_training(toy: ModelSpec, studio: tuple[Runner, Library]) -> None:
    runner, library = studio
    training = runner.submit(asked(library.shelf("me"), steps=30, word="between"), "me")
    until(training, 2)
    painting = runner.submit(TextToImage(model="toy", prompt="a cat", width=SIDE, height=SIDE, steps=2), "you")
    assert isinstance(list(painting.events(timeout=60))[-1], Done)
    assert training.ending is None
    assert isinstance(list(training.events(timeout=120))[-1], Done)
    interrupted = learned("between")
    (row,) = library.adapters.all("me")
    assert row.name == "between" and row.base == "toy" and library.adapters.all("you") == []
    assert library.adapters.erase("me", row.id) and "between" not in adapters
    again = runner.submit(training.request, "me")
    assert isinstance(list(again.events(timeout=120))[-1], Done)
    assert apart(interrupted, learned("between")) < 1e-5


def test_a_training_is_paused_resumed_and_kept_early(toy: ModelSpec, studio: tuple[Runner, Library]) -> None:
    runner, library = studio
    job = runner.submit(asked(library.shelf("me"), steps=20000, word="paused"), "me")
    until(job, 2)
    runner.pause(job)
    painting = runner.submit(TextToImage(model="toy", prompt="a cat", width=SIDE, height=SIDE, steps=2), "me")
    assert isinstance(list(painting.events(timeout=60))[-1], Done)
    said = job.said
    time.sleep(0.2)
    assert job.held and job.ending is None and job.said == said
    runner.resume(job, enough=True)
    assert isinstance(list(job.events(timeout=60))[-1], Done)
    assert 2 <= adapters["paused"].ours["steps"] < 20000


def test_a_stop_leaves_no_adapter_and_its_request_goes_on_later(toy: ModelSpec, studio: tuple[Runner, Library]) -> None:
    runner, library = studio
    job = runner.submit(asked(library.shelf("me"), steps=20000, word="halted"), "me")
    until(job, 3)
    runner.stop(job)
    assert isinstance(list(job.events(timeout=60))[-1], Cancelled)
    assert "halted" not in adapters and library.adapters.all("me") == []
    assert not list((library.folder / "adapters").glob("*"))
    state = library.shelf("me").workshop().run(job.request).state
    assert json.loads(_notes(state)["clock"])["step"] >= 3


def _notes(path: Path) -> dict[str, str]:
    from pipelines.models.headers import notes

    return notes(path)
