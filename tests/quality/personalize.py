"""How well the built-in model learns things it has never seen: a row for each way to teach, judged over new places.

    python -m tests.quality.personalize --subjects 8 --out runs/personalize.json
    python -m tests.quality.personalize --methods dreambooth_lora --subjects 2 --steps 20 --prompts 2 --others 4

The subjects are the artwork that no training of the model has seen; the judge knows it. What is in --out already is not
done again. The figures of issue 7: subject right, place right, other things unharmed, minutes, four steps, two together.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from PIL.Image import Image

from pipelines.adapters import calmed, taught
from pipelines.events import Taught
from pipelines.library import Library
from pipelines.memory import Memory
from pipelines.models import models
from pipelines.models.adapters import adapters
from pipelines.personalizers import personalizers
from pipelines.subjects import gathered
from pipelines.tasks import parse, run
from pipelines.tasks.personalize import presets_of
from pipelines.training.scenes import Backdrop, Item, Scene, colours, draw, places, strangers
from pipelines.workshop import registered
from tests.quality.judge import Judge
from tests.quality.pocket import marks
from tests.quality.prompts import backdrop, exercises

KINDS = {  # what a person would say each of them is, in a word of the model's world
    "teddy": "bear", "tiger": "lion", "duck": "penguin", "shark": "whale", "giraffe": "unicorn", "pear": "apple",
    "pretzel": "donut", "daisy": "sunflower", "trumpet": "guitar", "gamepad": "camera", "radio": "camera",
    "scooter": "car", "saucer": "rocket", "magnet": "key", "invader": "robot", "globe": "basketball",
}  # fmt: skip
WORDS = ("zorp", "quib", "vlim", "drux", "fenk", "glaw", "hyst", "jorv", "kelm", "mupt", "nirg", "plov", "rusk", "skeb",
         "twol", "wexa")  # fmt: skip
PICTURES = 4  # of each subject
SIDES = 1.5  # guidance of two subjects side by side
FEW = Path(__file__).parents[2] / "assets" / "adapters"
FEW_STEPS: dict[str, Any] = {
    "steps": 4,
    "sampler": {"name": "lcm"},
    "guidance": {"name": "cfg", "knobs": {"scale": 1.0}},
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """A stranger with its word, its pictures' backdrops, and prompts before others: (phrase, backdrop's name, seed)."""

    thing: str
    word: str
    known: tuple[str, ...]
    prompts: tuple[tuple[str, str, int], ...]


@dataclass
class School:
    """The studio's tasks in this process, a library of its own, the judge beside them."""

    steps: int
    memory: Memory = field(default_factory=Memory)
    judge: Judge = field(default_factory=Judge)

    @cached_property
    def shelf(self) -> Any:
        return Library(Path(tempfile.mkdtemp())).shelf("")

    @cached_property
    def few(self) -> dict[str, Any] | None:
        """What paints in four steps: a preset of the model that wears an adapter, else an adapter among the assets."""
        worn = [each.values for each in models["pocket"].presets if each.values.get("adapters")]
        if worn:
            return next((each for each in worn if each["steps"] == FEW_STEPS["steps"]), worn[0])
        files = sorted(FEW.glob("*.safetensors"))
        if not files:
            return None
        name = files[0].stem if files[0].stem in adapters else registered(files[0]).name
        return {**FEW_STEPS, "adapters": [{"name": name, "weight": 1.0}]}

    def done(self, request: dict[str, Any], told: Callable[[Any], None] = lambda _: None) -> Any:
        """What a task returns; `told` hears its events."""
        running = run(parse(request), self.memory, self.shelf)
        while True:
            try:
                told(next(running))
            except StopIteration as end:
                return end.value

    def paint(
        self, prompt: str, seed: int, worn: Mapping[str, float] | None = None, few: bool = False, **more: Any
    ) -> Image:
        """A picture, with adapters at these weights; one whose word is in the prompt is on unless it is named."""
        values: Row = models["pocket"].defaults | {"steps": self.steps, **more}
        if few:
            values |= self.few or {}
        elif taught(prompt):
            values = calmed(values, models["pocket"])  # as the page fills in the form
        on = [*values.pop("adapters", []), *({"name": name, "weight": each} for name, each in (worn or {}).items())]
        request = {"task": "text_to_image", "model": "pocket", "prompt": prompt, "seed": seed, "adapters": on, **values}
        picture: Image = self.done(request).pictures[0].picture
        return picture

    def sees(self, picture: Image, *things: str) -> bool:
        """Whether the judge sees all of these."""
        seen = self.judge.look([picture])[0]
        return all(seen.showing(thing) for thing in things)


def subjects(count: int, prompts: int) -> list[Subject]:
    """The first strangers by a fixed draw, each shown before four backdrops and asked for before others."""
    names = Random("personalize").sample(list(strangers), len(strangers))[:count]
    return [_subject(thing, word, prompts) for thing, word in zip(names, WORDS, strict=False)]


def _subject(thing: str, word: str, prompts: int) -> Subject:
    rng = Random(f"personalize {thing}")
    known = tuple(rng.sample([*places], PICTURES - 1) + rng.sample([*colours], 1))
    asked: list[tuple[str, str, int]] = []
    while len(asked) < prompts:
        name, words = backdrop(rng)
        if name not in known:
            asked.append((words, name, 2_000_000 + len(asked)))
    return Subject(thing, word, known, tuple(asked))


def portraits(subject: Subject) -> list[Image]:
    """Its pictures: somewhere near the middle, of several sizes, each before a backdrop of its own."""
    rng, drawn = Random(f"portraits {subject.thing}"), []
    for k, name in enumerate(subject.known):
        item = Item(subject.thing, rng.uniform(0.4, 0.6), rng.uniform(0.42, 0.58), scale=rng.uniform(0.36, 0.56))
        drawn.append(draw(Scene((item,), Backdrop(name, 77 + k))))
    return drawn


def teach(school: School, subject: Subject, method: str, steps: int) -> tuple[float, float]:
    """Minutes from the pictures to the adapter in the registry: by the clock, and of one core's work."""
    pictures = gathered([(f"{k}", lambda each=each: each) for k, each in enumerate(portraits(subject))]).pictures
    names = [school.shelf.put(picture) for _, picture in pictures]
    began, spent, ready = time.perf_counter(), time.process_time(), []

    def told(event: Any) -> None:
        if isinstance(event, Taught):
            ready.extend((time.perf_counter() - began, time.process_time() - spent))

    school.done(
        {"task": "personalize", "model": "pocket", "pictures": names, "word": subject.word, "samples": [],
         "kind": KINDS[subject.thing], "method": {"name": method}, "steps": steps, "seed": 11}, told
    )  # fmt: skip
    return ready[0] / 60, ready[1] / 60


def lesson(school: School, subject: Subject, method: str, steps: int, others: int) -> Row:
    """What came of one training, each figure a list of right and wrong."""
    minutes, worked = teach(school, subject, method, steps)
    row: Row = {"thing": subject.thing, "minutes": minutes, "worked": worked}
    row |= {"subject": [], "place": [], "before": [], "few": []}
    for words, place, seed in subject.prompts:
        prompt = f"a {subject.word} {words}"
        picture = school.paint(prompt, seed)
        row["subject"].append(school.sees(picture, subject.thing))
        row["place"].append(school.judge.look([picture])[0].backdrop == place)
        row["before"].append(school.sees(school.paint(prompt, seed, {subject.word: 0.0}), subject.thing))
        if school.few:
            few = school.paint(prompt, seed, few=True)
            row["few"].append(school.sees(few, subject.thing))
    row["others"] = right(school, others, {subject.word: 1.0})
    return row


def right(school: School, count: int, worn: Mapping[str, float] | None = None) -> list[bool]:
    """What the first exercises ask of other things, answered with adapters on."""
    given: list[bool] = []
    for task in exercises(count):
        given += marks(task, school.judge.look([school.paint(task.prompt, task.seed, worn)])[0]).values()
    return given


def together(school: School, one: Subject, other: Subject, prompts: int) -> list[bool]:
    """Whether both of two subjects are in each picture that asks for both, each for its own side."""
    given, guidance = [], {"name": "regions", "knobs": {"scale": SIDES}}
    for words, _, seed in one.prompts[:prompts]:
        prompt = f"a {one.word} {words} AND a {other.word} {words}"
        picture = school.paint(prompt, seed + 1000, guidance=guidance)
        given.append(school.sees(picture, one.thing, other.thing))
    return given


def share(given: Sequence[bool]) -> float | None:
    """The share that is right; None where nothing was asked."""
    return sum(given) / len(given) if given else None


def table(rows: Sequence[Row], unharmed: Sequence[bool]) -> dict[str, float | None]:
    """The figures of one method over its subjects."""
    names = ("subject", "place", "before", "few", "others", "pair")
    flat = {name: [each for row in rows for each in row[name]] for name in names}
    base, now = share(unharmed), share(flat["others"])
    return {
        "subject right": share(flat["subject"]),
        "place right": share(flat["place"]),
        "subject right without": share(flat["before"]),
        "others fall by": base - now if base is not None and now is not None else None,
        "subject right in 4 steps": share(flat["few"]),
        "both of two": share(flat["pair"]),
        "minutes": sum(row["minutes"] for row in rows) / len(rows),
        "minutes of a core": sum(row["worked"] for row in rows) / len(rows),
    }


def said(value: float | None, name: str) -> str:
    """A figure as a table shows it."""
    return "-" if value is None else f"{value:.1f}" if name.startswith("minutes") else f"{value:.0%}"


def forget(taught: Sequence[Subject]) -> None:
    """Have no word mean anything, so that the next method can take it."""
    for each in taught:
        if each.word in adapters:
            adapters[each.word].path.unlink(missing_ok=True)
            adapters.remove(each.word)


def examined(school: School, method: str, asked: argparse.Namespace, rows: dict[str, Row]) -> Iterator[None]:
    """Fills `rows`, one for each subject of one method, and yields after each; what is there is not done again.

    A subject is painted together with the one taught before it, where both were taught by this run.
    """
    taught: list[Subject] = []
    for subject in subjects(asked.subjects, asked.prompts):
        if subject.thing in rows:
            continue
        steps = asked.steps or presets_of(method)[0].values["steps"]
        row = lesson(school, subject, method, steps, asked.others)
        row["pair"] = together(school, taught[-1], subject, asked.pairs) if taught else []
        rows[subject.thing] = row
        taught.append(subject)
        print(f"{method} {subject.thing}: {json.dumps(row)}", flush=True)
        yield
    forget(taught)


def keep(file: Path | None, kept: Row) -> None:
    """Write what is known by now, where a file is named."""
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(kept, indent=1))


def main(words: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(personalizers), help="some of them, with commas between")
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--steps", type=int, help="of teaching; as many as Quick if not given")
    parser.add_argument("--prompts", type=int, default=8, help="of each subject, in places that its pictures lack")
    parser.add_argument("--pairs", type=int, default=2, help="prompts for each two subjects")
    parser.add_argument("--others", type=int, default=20, help="exercises of other things")
    parser.add_argument("--painting", type=int, default=20, help="steps of a picture")
    parser.add_argument("--out", type=Path, help="a JSON file, which is gone on with where it is there")
    asked = parser.parse_args(words)
    school = School(asked.painting)
    settings = {name: value for name, value in vars(asked).items() if name not in ("out", "methods", "subjects")}
    kept = json.loads(asked.out.read_text()) if asked.out and asked.out.exists() else {}
    if kept.get("settings") != settings:
        kept = {"settings": settings, "unharmed": right(school, asked.others), "methods": {}}
    for method in asked.methods.split(","):
        rows = kept["methods"].setdefault(method, {})
        for _ in examined(school, method, asked, rows):
            keep(asked.out, kept)
        figures = kept.setdefault("figures", {})[method] = table(list(rows.values()), kept["unharmed"])
        print(f"| {method} | " + " | ".join(f"{name} {said(value, name)}" for name, value in figures.items()) + " |")
        keep(asked.out, kept)


if __name__ == "__main__":
    main()
