"""What the judge is trained on: true scenes seen through the flaws of a generator, and spoilt things that do not count.

A picture that is soft, noisy, a little off in colour or bent still shows its things. A thing cut together from two, a
blend, a smear or a shuffled one is nothing.
"""

import io
from collections.abc import Iterator
from dataclasses import replace
from random import Random

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from pipelines.training.scenes import (
    Item,
    Scene,
    draw,
    sample_backdrop,
    sample_scene,
    sprite,
    strangers,
    stream,
    things,
)
from tests.quality.judge import BACKDROPS, NAMES

MOST = 8  # things in a lesson
EVERYTHING = [*things, *strangers]
Lesson = tuple[Tensor, Tensor, int]  # pixels (3, 256, 256) uint8; rows (class, x, y, scale), -1 = none; backdrop


class Lessons(IterableDataset[Lesson]):
    """Endless lessons; every worker draws its own."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed

    def __iter__(self) -> Iterator[Lesson]:
        worker = get_worker_info()
        rng = Random(f"judge {self.seed} {worker.id if worker else 0}")
        torch.set_num_threads(1)
        while True:
            yield lesson(rng)


def lesson(rng: Random) -> Lesson:
    """One picture with its truth."""
    scene = crowd(rng) if rng.random() < 0.25 else sample_scene(rng)
    items = tuple(_vary(item, rng) for item in scene.items)
    spoilt = {k for k in range(len(items)) if rng.random() < 0.15}
    good = tuple(item for k, item in enumerate(items) if k not in spoilt)
    picture = draw(Scene(good, scene.backdrop))
    for k in spoilt:
        paste_spoilt(picture, items[k], rng)
    rows = torch.full((MOST, 4), -1.0)
    for k, item in enumerate(good):
        rows[k] = torch.tensor([NAMES.index(item.thing), item.x, item.y, item.scale])
    pixels = torch.from_numpy(np.array(flawed(picture, rng))).permute(2, 0, 1)
    return pixels, rows, BACKDROPS.index(scene.backdrop.name)


def crowd(rng: Random) -> Scene:
    """Up to five things of any size wherever there is room, which the world itself never shows."""
    placed: list[Item] = []
    for _ in range(rng.randint(0, 5)):
        scale = rng.uniform(0.17, 0.5)
        x, y = (rng.uniform(scale / 2, 1 - scale / 2) for _ in "xy")
        item = Item(rng.choice(EVERYTHING), x, y, "medium", scale, rng.uniform(-10, 10), rng.random() < 0.3)
        if all((x - o.x) ** 2 + (y - o.y) ** 2 > (0.5 * (scale + o.scale)) ** 2 for o in placed):
            placed.append(item)
    return Scene(tuple(placed), sample_backdrop(rng))


def _vary(item: Item, rng: Random) -> Item:
    thing = rng.choice(list(strangers)) if rng.random() < 0.08 else item.thing
    shift = 0.02
    return replace(
        item, thing=thing, scale=item.scale * rng.uniform(0.9, 1.1), x=item.x + rng.uniform(-shift, shift),
        y=item.y + rng.uniform(-shift, shift),
    )  # fmt: skip


def paste_spoilt(picture: Image.Image, item: Item, rng: Random) -> None:
    """Put something where the item would be that has its colours and none of its shape."""
    edge = max(12, round(item.scale * picture.width))
    other = _art(rng.choice(EVERYTHING), edge)
    art = _art(item.thing, edge)
    way = rng.choice((_cut, _blend, _smear, _shuffle))
    art = way(art, other, rng)
    picture.paste(art, (round(item.x * picture.width - edge / 2), round(item.y * picture.height - edge / 2)), art)


def _art(name: str, edge: int) -> Image.Image:
    art = sprite(name)
    ratio = edge / max(art.size)
    art = art.resize((max(1, round(art.width * ratio)), max(1, round(art.height * ratio))), Image.Resampling.BILINEAR)
    square = Image.new("RGBA", (edge, edge))
    square.paste(art, ((edge - art.width) // 2, (edge - art.height) // 2))
    return square


def _cut(art: Image.Image, other: Image.Image, rng: Random) -> Image.Image:
    half = art.width // 2
    if rng.random() < 0.5:
        other = Image.new("RGBA", art.size)
    art = art.copy()
    art.paste(other.crop((half, 0, art.width, art.height)), (half, 0))
    return art.rotate(rng.choice((0, 90, 180, 270))) if rng.random() < 0.5 else art


def _blend(art: Image.Image, other: Image.Image, rng: Random) -> Image.Image:
    return Image.blend(art, other, rng.uniform(0.42, 0.58))


def _smear(art: Image.Image, other: Image.Image, rng: Random) -> Image.Image:
    edge = round(art.width * 0.6)
    room = Image.new("RGBA", art.size)  # so that the blur does not end at the square
    room.paste(art.resize((edge, edge)), ((art.width - edge) // 2, (art.width - edge) // 2))
    return room.filter(ImageFilter.GaussianBlur(art.width * rng.uniform(0.1, 0.16)))


def _shuffle(art: Image.Image, other: Image.Image, rng: Random) -> Image.Image:
    parts = rng.choice((2, 3, 4))
    step = art.width // parts
    cells = [(x * step, y * step) for x in range(parts) for y in range(parts)]
    mixed = Image.new("RGBA", art.size)
    for (x, y), (u, v) in zip(cells, cells[1:] + cells[:1], strict=True):
        mixed.paste(art.crop((x, y, x + step, y + step)), (u, v))
    return mixed


def flawed(picture: Image.Image, rng: Random) -> Image.Image:
    """The picture as an imperfect generator might paint it: everything in it can still be recognised."""
    if rng.random() < 0.3:
        picture = bent(picture, rng)
    if rng.random() < 0.35:
        edge = round(picture.width * rng.uniform(0.35, 0.9))
        picture = picture.resize((edge, edge), Image.Resampling.BOX).resize(picture.size, Image.Resampling.BICUBIC)
    if rng.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.8)))
    if rng.random() < 0.4:
        picture = ImageEnhance.Color(picture).enhance(rng.uniform(0.8, 1.2))
        picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.93, 1.07))
        picture = ImageEnhance.Contrast(picture).enhance(rng.uniform(0.88, 1.1))
    if rng.random() < 0.3:
        picture = noisy(picture, rng)
    if rng.random() < 0.25:
        written = io.BytesIO()
        picture.save(written, "JPEG", quality=rng.randint(20, 90))
        picture = Image.open(written).convert("RGB")
    return picture


def noisy(picture: Image.Image, rng: Random) -> Image.Image:
    """Grain, and a tint of each channel."""
    draw_from = np.random.default_rng(rng.getrandbits(32))
    grain = draw_from.normal(0, rng.uniform(1, 14), (picture.height, picture.width, 3))
    values = np.asarray(picture) + grain + draw_from.normal(0, 5, 3)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def bent(picture: Image.Image, rng: Random) -> Image.Image:
    """A slight elastic warp: a lattice of 8x8 corners, each moved a few pixels."""
    count, reach = 8, rng.uniform(1, 4.5)
    step, last = picture.width / count, count

    def moved(x: int, y: int) -> tuple[float, float]:
        inside = 0 < x < last and 0 < y < last  # the border stays, or black would come in
        return (x * step + rng.gauss(0, reach), y * step + rng.gauss(0, reach)) if inside else (x * step, y * step)

    corner = [[moved(x, y) for x in range(count + 1)] for y in range(count + 1)]
    mesh = []
    for y in range(count):
        for x in range(count):
            box = (round(x * step), round(y * step), round((x + 1) * step), round((y + 1) * step))
            around = (corner[y][x], corner[y + 1][x], corner[y + 1][x + 1], corner[y][x + 1])
            mesh.append((box, tuple(value for point in around for value in point)))
    return picture.transform(picture.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)


def held_out_scenes(count: int) -> list[Scene]:
    """True scenes that no training ever sees."""
    return [sample_scene(stream("held_out", k), split="held_out") for k in range(count)]
