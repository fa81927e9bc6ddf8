"""How well things are put elsewhere: drawn scenes whose true answer can be drawn, changed by the studio, and judged.

    python -m tests.quality.drag --count 60 --steps 25 --out runs/drag.json
    python -m tests.quality.drag --count 4 --only move,tracker

The figures of issue 6: move, apart, copy, resize, paste, each way of dragging, photographs with points set by hand, the
tracker alone, and what it all costs.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation

from pipelines.training.scenes import Item, Scene, draw, masks, sample_scene, stream
from tests.quality.likeness import appearance
from tests.quality.repaint import Easel, Figures, place_of, psnr, share, words
from tests.quality.tables import rows
from tests.quality.tracks import SIDE, photographs, tracker

AROUND = 12  # pixels around old and new place that count as affected
FIRST = 90_000  # of the held-out stream: scenes that no other figure has seen
WAYS = ("warp", "energy", "search")


def scenes(count: int, kind: Any = "single") -> Iterator[tuple[Scene, Random]]:
    """Held-out scenes of one kind, each with a stream of numbers of its own."""
    for k in range(count):
        yield sample_scene(stream("held_out", FIRST + k), "held_out", kind), Random(f"drag {kind} {k}")


def elsewhere(item: Item, rng: Random) -> Item:
    """The item at another place where all of it shows, at least a quarter of the picture away where that can be."""
    half = min(item.scale / 2 + 0.02, 0.5)
    tries = [
        replace(item, x=rng.uniform(half, 1 - half) if half < 0.5 else 0.5, y=rng.uniform(half, 1 - half))
        for _ in range(30)
    ]
    far = [each for each in tries if np.hypot(each.x - item.x, each.y - item.y) >= 0.25]
    return far[0] if far else max(tries, key=lambda each: np.hypot(each.x - item.x, each.y - item.y))


def mask_of(scene: Scene, index: int = 0) -> np.ndarray:
    """Where an item is, (H, W) of 0..255."""
    return np.asarray(masks(scene)[index])


def centre(mask: np.ndarray) -> tuple[int, int]:
    """The middle of a mask's box, in pixels."""
    left, top, right, bottom = Image.fromarray(mask).getbbox()  # type: ignore[misc]
    return (left + right) // 2, (top + bottom) // 2


def written(place: tuple[int, int]) -> str:
    """A place as requests name it."""
    return f"{place[0]},{place[1]}"


class Score:
    """What is noted of every result of a row."""

    def __init__(self, easel: Easel) -> None:
        self.easel = easel
        self.apart: list[float] = []  # pixels from the truth; a thing that is not seen is as far as can be
        self.itself: list[bool] = []
        self.known: list[bool] = []  # whether the judge sees the thing in the true picture
        self.gone: list[bool] = []
        self.around: list[float] = []
        self.seconds: list[float] = []

    def paint(self, task: str, source: Image.Image, mask: np.ndarray | None = None, **values: Any) -> Image.Image:
        """A result, its time noted."""
        request = self.easel.request(task, source, mask, **values)
        begun = time.perf_counter()
        result = self.easel.paint(request)
        self.seconds.append(time.perf_counter() - begun)
        return result

    def note(self, result: Image.Image, truth: Scene, item: Item, old: Item | None) -> None:
        """How far the item of the true scene is from its place, and whether its old place is empty."""
        found = self.easel.judge.look([result])[0].showing(item.thing)
        gaps = [float(np.hypot(each.x - item.x, each.y - item.y)) * SIDE for each in found]
        self.apart.append(min(gaps, default=float(SIDE)))
        self.itself.append(bool(found))
        self.known.append(self.easel.shows(draw(truth), item.thing))
        if old is not None:
            stays = [np.hypot(each.x - old.x, each.y - old.y) * SIDE for each in found]
            moved = np.hypot(item.x - old.x, item.y - old.y) * SIDE
            self.gone.append(not any(each < min(moved / 2, old.scale * SIDE / 2) for each in stays))
        affected = np.zeros((SIDE, SIDE), bool)
        for each in [item] + ([old] if old else []):
            affected |= mask_of(Scene((each,), truth.backdrop)) > 0
        outside = ~binary_dilation(affected, iterations=AROUND)
        if outside.any():
            self.around.append(psnr(result, draw(truth), outside))

    def row(self) -> Figures:
        """The figures of a row."""
        empty = {"old place empty": share(self.gone)} if self.gone else {}
        return {
            "distance, median px": statistics.median(self.apart),
            "still itself": share(self.itself),
            "still itself, of those the judge knows in the true picture": share(
                [seen for seen, known in zip(self.itself, self.known, strict=True) if known]
            ),
            **empty,
            "background PSNR, median dB": statistics.median(self.around),
            "seconds, median": statistics.median(self.seconds),
        }


def move(easel: Easel, count: int) -> Figures:
    """A thing is pulled from A to B."""
    score = Score(easel)
    for scene, rng in scenes(count):
        (item,) = scene.items
        there = elsewhere(item, rng)
        truth = Scene((there,), scene.backdrop)
        result = score.paint(
            "move", draw(scene), mask_of(scene), to=written(centre(mask_of(truth))),
            prompt=place_of(scene), negative_prompt=item.thing,
        )  # fmt: skip
        score.note(result, truth, there, item)
    return score.row()


def copy(easel: Easel, count: int) -> Figures:
    """A thing stands at a second place, too."""
    score = Score(easel)
    for scene, rng in scenes(count):
        (item,) = scene.items
        there = elsewhere(item, rng)
        truth = Scene((item, there), scene.backdrop)
        to = written(centre(mask_of(Scene((there,), scene.backdrop))))
        result = score.paint(
            "move", draw(scene), mask_of(scene), gesture="copy", to=to, prompt=words(scene, item.thing)
        )
        score.note(result, truth, there, None)
    return score.row()


def resize(easel: Easel, count: int) -> Figures:
    """A thing grows or shrinks where it is; its size by the judge beside the true one."""
    score, sizes = Score(easel), []
    for k, (scene, _) in enumerate(scenes(count)):
        (item,) = scene.items
        room = 2 * min(item.x, 1 - item.x, item.y, 1 - item.y) / item.scale
        factor = min(1.5, max(room, 1.05)) if k % 2 else 0.6
        truth = Scene((replace(item, scale=item.scale * factor),), scene.backdrop)
        result = score.paint(
            "move", draw(scene), mask_of(scene), gesture="resize", size=round(factor, 2),
            prompt=place_of(scene), negative_prompt="",
        )  # fmt: skip
        score.note(result, truth, truth.items[0], None)
        found = easel.judge.look([result])[0].showing(item.thing)
        if found:
            sizes.append(abs(found[0].scale / truth.items[0].scale - 1))
    return score.row() | {"size off by, median share": statistics.median(sizes) if sizes else float("nan")}


def paste(easel: Easel, count: int) -> Figures:
    """A thing of one scene is put into another."""
    score = Score(easel)
    homes = [scene for scene, _ in scenes(count + 1)][1:]
    for (scene, rng), home in zip(scenes(count), homes, strict=True):
        (item,) = home.items
        there = elsewhere(item, rng)
        truth = Scene((*scene.items, there), scene.backdrop)
        to = written(centre(mask_of(Scene((there,), scene.backdrop))))
        result = score.paint(
            "move", draw(scene), mask_of(home), gesture="paste", other=easel.shelf.put(draw(home)), to=to,
            prompt=words(scene, item.thing),
        )  # fmt: skip
        score.note(result, truth, there, None)
    return score.row()


def pull(way: str) -> Callable[[Easel, int], Figures]:
    """A thing is pulled from A to B by an arrow from its middle, as a whole."""

    def figures(easel: Easel, count: int) -> Figures:
        score = Score(easel)
        for scene, rng in scenes(count):
            (item,) = scene.items
            there = elsewhere(item, rng)
            truth = Scene((there,), scene.backdrop)
            arrows = f"{written(centre(mask_of(scene)))}>{written(centre(mask_of(truth)))}"
            result = score.paint(
                "drag", draw(scene), arrows=arrows, way=way,
                prompt=words(scene, item.thing), guidance={"name": "cfg", "knobs": {"scale": 1.0}},
            )  # fmt: skip
            score.note(result, truth, there, item)
        return score.row()

    return figures


def apart(easel: Easel, count: int) -> Figures:
    """Two things are pulled away from each other, one after the other; both must arrive."""
    score = Score(easel)
    for scene, _ in scenes(count, "pair"):
        items = sorted(scene.items, key=lambda each: each.x)
        picture, now = draw(scene), list(scene.items)
        for item, goal in zip(items, (0.2, 0.8), strict=True):
            index = now.index(item)
            there = replace(item, x=max(item.scale / 2, 0.2) if goal < 0.5 else min(1 - item.scale / 2, 0.8))
            mask = mask_of(Scene(tuple(now), scene.backdrop), index)
            if not mask.any():
                continue
            now[index] = there
            to = written(centre(mask_of(Scene((there,), scene.backdrop))))
            picture = score.paint("move", picture, mask, to=to, prompt=place_of(scene), negative_prompt=item.thing)
        for there in now:
            score.note(picture, Scene(tuple(now), scene.backdrop), there, None)
    return score.row()


def cost(easel: Easel, _: int) -> Figures:
    """Times as one picture from words takes, each the middle of three after one to warm up."""
    (scene, rng), *_rest = scenes(1)
    (item,) = scene.items
    source, mask = draw(scene), mask_of(scene)
    to = written(centre(mask_of(Scene((elsewhere(item, rng),), scene.backdrop))))
    arrows = f"{written(centre(mask))}>{to}"
    plain = {"task": "text_to_image", "prompt": words(scene, item.thing)}
    asked = {"move": {"task": "move", "to": to}} | {way: {"task": "drag", "arrows": arrows, "way": way} for way in WAYS}
    seconds = {"picture": timed(easel, plain, None, None)}
    for name, values in asked.items():
        seconds[name] = timed(easel, values, source, mask if name == "move" else None)
    return {f"{name} to a picture": round(value / seconds["picture"], 2) for name, value in seconds.items()}


def timed(easel: Easel, values: dict[str, Any], source: Image.Image | None, mask: np.ndarray | None) -> float:
    """The middle of three runs, in seconds; what a drag keeps of a picture is forgotten before each."""
    from pipelines.tasks import parse, run

    named = {"source": easel.shelf.put(source)} if source else {}
    named |= {"mask": easel.shelf.put(Image.fromarray(mask))} if mask is not None else {}
    guidance = {} if values["task"] == "drag" else {"guidance": {"name": "cfg", "knobs": {"scale": easel.scale}}}
    request = parse({"model": "pocket", "steps": easel.steps, "seed": 7, **guidance, **named, **values})
    taken = []
    for _ in range(4):
        easel.memory._notes.clear()  # an inversion is kept between drags
        begun = time.perf_counter()
        for _event in run(request, easel.memory, easel.shelf):
            pass
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])


FIGURES: dict[str, Callable[[Easel, int], Figures]] = {
    "move": move, "apart": apart, "copy": copy, "resize": resize, "paste": paste,
    **{f"drag by {way}": pull(way) for way in WAYS}, "appearance": appearance(scenes), "photographs": photographs,
    "tracker": tracker(scenes), "cost": cost,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    rows(__doc__, FIGURES, Easel, 60, arguments)


if __name__ == "__main__":
    main()
