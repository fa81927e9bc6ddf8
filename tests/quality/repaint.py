"""How well pictures are changed: drawn scenes whose truth is known, changed by the studio's tasks, and judged.

    python -m tests.quality.repaint --count 100 --steps 25 --out runs/repaint.json
    python -m tests.quality.repaint --count 8 --only replace,click

The figures of issue 5: replace, remove, add, outpaint, soft masks, bytes outside, seams, edits, click to mask.
"""

import math
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt

from pipelines import grounds
from pipelines.features import Click, seen, selected
from pipelines.memory import Memory
from pipelines.models import models
from pipelines.painting import Sampled
from pipelines.shelf import FolderShelf
from pipelines.tasks import parse, run, tasks
from pipelines.tasks.edit import edited
from pipelines.training.captions import COLOUR_PHRASES
from pipelines.training.scenes import Item, Scene, draw, masks, places, sample_scene, stream, things
from tests.quality.judge import Judge
from tests.quality.prompts import article
from tests.quality.tables import Figures, rows

SIDE = 256
FIRST = 50_000  # of the held-out stream: scenes that no other figure has seen
AROUND = 0.08  # of the picture, how far a mask reaches past the box of its thing
STRENGTHS = (0.5, 0.6, 0.7, 0.8, 0.9)  # of SDEdit, to compare edits with


@dataclass
class Easel:
    """The studio's tasks in this process, the judge beside them, and what every result said of itself."""

    steps: int
    scale: float
    seams: list[float] = field(default_factory=list)
    outside: int = 0

    @cached_property
    def memory(self) -> Memory:
        return Memory()

    @cached_property
    def judge(self) -> Judge:
        return Judge()

    @cached_property
    def shelf(self) -> FolderShelf:
        return FolderShelf(Path(tempfile.mkdtemp()))

    def request(self, task: str, source: Image.Image, mask: np.ndarray | None = None, **values: Any) -> Any:
        """The request for a picture and, where given, its mask."""
        named = {"source": self.shelf.put(source)}
        if mask is not None:
            named["mask"] = self.shelf.put(Image.fromarray(mask))
        guidance = {"name": "cfg", "knobs": {"scale": self.scale}}
        liked = {"guidance": guidance, "sampler": models["pocket"].defaults["sampler"]}
        usual, own = Sampled.model_fields, tasks[task].request.model_fields
        liked = {name: value for name, value in liked.items() if own[name].default == usual[name].default}
        return parse({"task": task, "model": "pocket", "steps": self.steps, "seed": 7, **liked, **named, **values})

    def paint(self, request: Any) -> Image.Image:
        """The picture that a request makes; its seam and what it changed outside are counted."""
        running = run(request, self.memory, self.shelf)
        while True:
            try:
                next(running)
            except StopIteration as end:
                picture: Image.Image = end.value.pictures[0].picture
                break
        sheet, frame = request.sheet(self.shelf), request.frame(self.shelf)
        self.outside += sheet.changed_outside(picture)
        seam = sheet.seam(picture, frame)
        if seam is not None:
            self.seams.append(seam)
        return picture

    def shows(self, picture: Image.Image, thing: str) -> bool:
        """Whether the judge sees a thing."""
        return bool(self.judge.look([picture])[0].showing(thing))


def scenes(count: int, kind: Any = "single") -> Iterator[tuple[Scene, Random]]:
    """Held-out scenes of one kind, each with a stream of numbers of its own."""
    for k in range(count):
        yield sample_scene(stream("held_out", FIRST + k), "held_out", kind), Random(f"repaint {kind} {k}")


def place_of(scene: Scene) -> str:
    """Words for a scene's backdrop."""
    name = scene.backdrop.name
    said = places[name].phrases[0] if name in places else COLOUR_PHRASES[0].format(name)
    return said.replace("a orange", "an orange")


def words(scene: Scene, thing: str) -> str:
    """A sentence for a thing before a scene's backdrop."""
    return f"{article(thing)} {place_of(scene)}"


def box_mask(item: Item, level: int = 255, around: float = AROUND) -> np.ndarray:
    """A mask over the box of an item, and a little around it."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    half = item.scale / 2 + around
    left, right = (round(min(max(item.x + way * half, 0), 1) * SIDE) for way in (-1, 1))
    top, bottom = (round(min(max(item.y + way * half, 0), 1) * SIDE) for way in (-1, 1))
    mask[top:bottom, left:right] = level
    return mask


def psnr(one: Any, other: Any, where: Any = None, span: float = 255.0) -> float:
    """Decibels between two arrays, where a mask says so; 99 for equal ones."""
    difference = (np.asarray(one, np.float64) - np.asarray(other, np.float64)) ** 2
    error = float((difference if where is None else difference[where]).mean())
    return min(99.0, 10 * math.log10(span**2 / error)) if error else 99.0


def other_thing(rng: Random, thing: str) -> str:
    """Another thing of the world."""
    return rng.choice([name for name in things if name != thing])


def replace(easel: Easel, count: int) -> Figures:
    """A thing is painted over by another, as it is by default and with a second look."""
    figures: Figures = {}
    for close, name in ((False, ""), (True, ", two looks")):
        present, gone = [], []
        for scene, rng in scenes(count):
            (item,) = scene.items
            wanted = other_thing(rng, item.thing)
            asked = {"prompt": words(scene, wanted), "close": close}
            result = easel.paint(easel.request("inpaint", draw(scene), box_mask(item), **asked))
            present.append(easel.shows(result, wanted))
            gone.append(not easel.shows(result, item.thing))
        figures |= {f"new thing present{name}": share(present), f"old thing gone{name}": share(gone)}
    return figures


def remove(easel: Easel, count: int) -> Figures:
    """A thing is painted over by what is behind it, as it is by default and with a second look."""
    figures: Figures = {}
    for close, name in ((False, ""), (True, ", two looks")):
        gone, near = [], []
        for scene, _ in scenes(count):
            (item,) = scene.items
            mask, asked = box_mask(item, around=0.03), {"prompt": place_of(scene), "negative_prompt": item.thing}
            result = easel.paint(easel.request("inpaint", draw(scene), mask, close=close, **asked))
            gone.append(not easel.shows(result, item.thing))
            near.append(psnr(result, draw(scene.without(0)), mask > 0))
        figures |= {f"gone{name}": share(gone), f"inside PSNR to empty, median dB{name}": statistics.median(near)}
    return figures


def add(easel: Easel, count: int) -> Figures:
    """A thing is painted where there was none."""
    present = []
    for scene, _ in scenes(count):
        (item,) = scene.items
        empty = draw(scene.without(0))
        result = easel.paint(easel.request("inpaint", empty, box_mask(item), prompt=words(scene, item.thing)))
        found = easel.judge.look([result])[0].showing(item.thing)
        present.append(any(abs(each.x - item.x) < 0.15 and abs(each.y - item.y) < 0.15 for each in found))
    return {"present where it was asked for": share(present)}


def outpaint(easel: Easel, count: int) -> Figures:
    """The middle two thirds of a picture grow by a quarter of themselves to each side."""
    right, edge = [], 42
    for scene, _ in scenes(count):
        middle = draw(scene).crop((44, 44, 44 + 168, 44 + 168))
        sides = {side: edge for side in ("left", "top", "right", "bottom")}
        result = easel.paint(easel.request("outpaint", middle, prompt=words(scene, scene.items[0].thing), **sides))
        right.append(easel.judge.look([result])[0].backdrop == scene.backdrop.name)
    return {"place still right": share(right)}


def soft(easel: Easel, count: int) -> Figures:
    """The stronger the mask, the more changes."""
    rising, all_changes = [], []
    for scene, rng in scenes(count):
        (item,) = scene.items
        source, prompt = draw(scene), words(scene, other_thing(rng, item.thing))
        changes = []
        for level in (64, 128, 192, 255):
            result = easel.paint(easel.request("inpaint", source, box_mask(item, level), prompt=prompt))
            changes.append(float(np.abs(np.asarray(result, int) - np.asarray(source, int)).mean()))
        rising.append(changes == sorted(changes))
        all_changes.append(changes)
    medians = [round(statistics.median(each), 2) for each in zip(*all_changes, strict=True)]
    return {"change rises with the mask": share(rising), "change at 64, 128, 192, 255, median levels": medians}


def edits(easel: Easel, count: int) -> Figures:
    """The same words give the picture back; another thing's word changes the thing, and little else."""
    rows: Figures = {}
    for inversion in ("cycle", "ddim", "cfgpp"):
        rows[f"{inversion}, same words"] = median_of(
            [same_words(easel, scene, inversion) for scene, _ in scenes(count)]
        )
        rows[f"{inversion}, other word"] = changed(easel, count, "edit", inversion=inversion)
    for strength in STRENGTHS:
        rows[f"SDEdit {strength}, other word"] = changed(easel, count, "repaint", strength=strength)
    plain = [rows[f"SDEdit {strength}, other word"] for strength in STRENGTHS]
    for inversion in ("cycle", "ddim", "cfgpp"):
        own = rows[f"{inversion}, other word"]
        equal = [row["background PSNR, median dB"] for row in plain if row["changed"] >= own["changed"]]
        best = max(equal, default=math.nan)  # what SDEdit keeps where it succeeds as often
        rows[f"{inversion}, dB above SDEdit at equal success"] = own["background PSNR, median dB"] - best
    return rows


def same_words(easel: Easel, scene: Scene, inversion: str) -> dict[str, float]:
    """How near the source an edit ends that changes nothing."""
    said = words(scene, scene.items[0].thing)
    source = draw(scene)
    asked = {"prompt": said, "shown": said, "inversion": inversion, "localized": False}  # else nothing would be walked
    request = easel.request("edit", source, **asked)
    sheet, frame = request.sheet(easel.shelf), request.frame(easel.shelf)
    with torch.inference_mode():
        ground = ended(grounds.grounded(request, models["pocket"], easel.memory, sheet, frame))
        latents = ended(edited(request, ground, 1, 1))
        back, straight = (np.asarray(grounds.decoded(ground, each)) for each in (latents, ground.latents))
    span = float(ground.latents.max() - ground.latents.min())
    return {
        "latents PSNR, median dB": psnr(latents, ground.latents, span=span),
        "picture PSNR, median dB": psnr(back, np.asarray(source)),
        "picture PSNR to the autoencoder's own, median dB": psnr(back, straight),
    }


def changed(easel: Easel, count: int, task: str, **values: Any) -> dict[str, float]:
    """How often a thing became another, and how near what lies around it stayed."""
    right, around = [], []
    for scene, rng in scenes(count):
        (item,) = scene.items
        wanted, source = other_thing(rng, item.thing), draw(scene)
        said = {"shown": words(scene, item.thing)} if task == "edit" else {}
        result = easel.paint(easel.request(task, source, prompt=words(scene, wanted), **said, **values))
        right.append(easel.shows(result, wanted) and not easel.shows(result, item.thing))
        around.append(psnr(result, source, box_mask(item) == 0))
    return {"changed": share(right), "background PSNR, median dB": statistics.median(around)}


def click(easel: Easel, count: int) -> Figures:
    """One click on each of two things, at its innermost point and at a random one."""
    inner, anywhere = [], []
    for scene, rng in scenes(count, "pair"):
        sight = seen(draw(scene), models["pocket"], easel.memory)
        for truth in (np.asarray(mask) > 127 for mask in masks(scene)):
            depth = distance_transform_edt(truth)
            y, x = np.unravel_index(int(depth.argmax()), depth.shape)
            inner.append(overlap(selected(sight, [Click(int(x), int(y))]), truth))
            y, x = rng.choice(np.argwhere(depth > 2).tolist())
            anywhere.append(overlap(selected(sight, [Click(x, y)]), truth))
    return {
        "IoU, innermost click, median": statistics.median(inner),
        "IoU, any click, median": statistics.median(anywhere),
    }


def overlap(mask: Image.Image, truth: np.ndarray) -> float:
    """Intersection over union."""
    chosen = np.asarray(mask) > 127
    return float((chosen & truth).sum() / (chosen | truth).sum())


def ended(running: Any) -> Any:
    """What a generator returns."""
    while True:
        try:
            next(running)
        except StopIteration as end:
            return end.value


def share(marks: list[bool]) -> float:
    """The share that is true."""
    return sum(marks) / len(marks)


def median_of(rows: list[dict[str, float]]) -> dict[str, float]:
    """The median of each column."""
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


FIGURES: dict[str, Callable[[Easel, int], Figures]] = {
    "replace": replace, "remove": remove, "add": add, "outpaint": outpaint, "soft": soft, "edits": edits, "click": click,
}  # fmt: skip


def last(easel: Easel) -> dict[str, Figures]:
    """What all results said of themselves."""
    return {
        "outside": {"differing bytes": easel.outside},
        "seam": {"median": statistics.median(easel.seams) if easel.seams else math.nan, "seams": len(easel.seams)},
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    rows(__doc__, FIGURES, Easel, 100, arguments, last)


if __name__ == "__main__":
    main()
