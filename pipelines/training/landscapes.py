"""The painters of the places: each fills a canvas with one landscape, varied by its random numbers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipelines.training.backdrops import Canvas, Colour, Rng, shade

Paint = Callable[[Canvas, Rng], None]


@dataclass(frozen=True)
class Place:
    """A kind of landscape: the phrases that name it in captions, and its painter."""

    name: str
    phrases: tuple[str, ...]
    paint: Paint


places: dict[str, Place] = {}


def place(name: str, *phrases: str) -> Callable[[Paint], Paint]:
    """Register a painter as the place called `name`."""

    def register(paint: Paint) -> Paint:
        places[name] = Place(name, phrases, paint)
        return paint

    return register


def hills(rng: Rng, height: float) -> list[tuple[float, float, float]]:
    """Two random slow sines for a rolling ridge."""
    return [(height, rng.uniform(0.5, 0.9), rng.random()), (height / 2, rng.uniform(1.1, 1.8), rng.random())]


def cloud(canvas: Canvas, x: float, y: float, size: float) -> None:
    """A heap of white puffs on a flat grey foot."""
    for dx, dy, r in ((-0.9, 0.1, 0.5), (0.9, 0.12, 0.48), (-0.35, -0.2, 0.62), (0.4, -0.12, 0.56)):
        canvas.disc(x + dx * size, y + dy * size + 0.012, r * size, (222, 234, 246), 0.72)
    for dx, dy, r in ((-0.9, 0.1, 0.5), (0.9, 0.12, 0.48), (-0.35, -0.2, 0.62), (0.4, -0.12, 0.56)):
        canvas.disc(x + dx * size, y + dy * size - 0.008, r * size, (252, 253, 255), 0.72)


def specks(canvas: Canvas, rng: Rng, count: int, top: float, bottom: float, radius: float, colour: Colour) -> None:
    """Scattered small round dots: stars, flowers, flakes, bubbles."""
    for x, y, r in rng.random((count, 3)).tolist():
        canvas.disc(x, top + (bottom - top) * y, radius * (0.5 + r), colour)


@place("night sky", "in the night sky", "under the stars", "in a starry night")
def night_sky(canvas: Canvas, rng: Rng) -> None:
    """Stars over a gradient from near black to violet."""
    canvas.wash((12, 14, 46), shade((30, 28, 84), rng, 6), shade((72, 56, 128), rng, 10))
    specks(canvas, rng, int(rng.integers(24, 40)), 0, 1, 0.0055, (236, 236, 250))
    specks(canvas, rng, 5, 0, 0.9, 0.011, (255, 250, 220))


@place("sky", "in the sky", "among the clouds", "in the blue sky")
def day_sky(canvas: Canvas, rng: Rng) -> None:
    """Two to four white clouds on blue."""
    canvas.wash(shade((78, 152, 232), rng), shade((186, 222, 250), rng, 6))
    for k in rng.permutation(5)[: rng.integers(3, 5)].tolist():
        cloud(canvas, rng.random(), 0.12 + 0.19 * k + 0.04 * rng.random(), rng.uniform(0.08, 0.14))


@place("sea", "at sea", "on the ocean", "on the sea")
def sea(canvas: Canvas, rng: Rng) -> None:
    """Open water under a clear sky, with a few glints."""
    level = rng.uniform(0.46, 0.6)
    canvas.wash(shade((112, 186, 240), rng), (222, 240, 252), bottom=level)
    canvas.wash(shade((58, 150, 206), rng, 6), shade((20, 78, 150), rng, 6), top=level)
    for depth in (0.08, 0.2, 0.34, 0.5, 0.7, 0.88):
        x, long = rng.random(), 0.05 + 0.06 * depth
        canvas.disc(x, level + (1 - level) * depth, long, (104, 182, 226), 0.1)


@place("meadow", "in a meadow", "on the grass", "in a green field")
def meadow(canvas: Canvas, rng: Rng) -> None:
    """Two rolling green hills with small flowers."""
    canvas.wash(shade((116, 190, 244), rng), (226, 242, 252))
    canvas.ridge(rng.uniform(0.5, 0.58), hills(rng, 0.04), shade((136, 196, 98), rng))
    canvas.ridge(rng.uniform(0.66, 0.72), hills(rng, 0.03), shade((98, 170, 74), rng))
    specks(canvas, rng, 7, 0.78, 0.98, 0.010, (252, 252, 244))
    specks(canvas, rng, 7, 0.78, 0.98, 0.010, (250, 216, 84))


@place("desert", "in the desert", "among the dunes", "on the dunes")
def desert(canvas: Canvas, rng: Rng) -> None:
    """Three dunes under a pale warm sky."""
    canvas.wash(shade((250, 196, 130), rng, 8), (255, 236, 204), bottom=0.7)
    canvas.ridge(rng.uniform(0.52, 0.58), hills(rng, 0.05), shade((232, 182, 112), rng, 6))
    canvas.ridge(rng.uniform(0.66, 0.72), hills(rng, 0.05), shade((218, 160, 90), rng, 6))
    canvas.ridge(rng.uniform(0.82, 0.88), hills(rng, 0.04), shade((198, 138, 74), rng, 6))


@place("snow", "in the snow", "on a snowy day", "in winter")
def snow(canvas: Canvas, rng: Rng) -> None:
    """White hills and falling flakes under a grey-blue sky."""
    canvas.wash(shade((150, 174, 204), rng, 8), (214, 226, 240))
    canvas.ridge(rng.uniform(0.52, 0.6), hills(rng, 0.04), (226, 236, 248))
    canvas.ridge(rng.uniform(0.7, 0.76), hills(rng, 0.03), (246, 250, 255))
    specks(canvas, rng, 26, 0, 0.75, 0.008, (255, 255, 255))


def firs(canvas: Canvas, rng: Rng, foot: float, height: float, colour: Colour) -> None:
    """A row of fir trees, their feet at one level."""
    for x in np.arange(rng.uniform(-0.05, 0.05), 1.1, height * 0.45).tolist():
        tall, half = height * rng.uniform(0.75, 1.1), height * 0.24
        for k in range(3):
            tip, base = foot - tall * (1 - 0.26 * k), foot - tall * (0.56 - 0.28 * k)
            wide = half * (0.62 + 0.2 * k)
            canvas.polygon([(x, tip), (x + wide, base), (x - wide, base)], colour)


@place("forest", "in the forest", "in the woods", "among the trees")
def forest(canvas: Canvas, rng: Rng) -> None:
    """Two rows of firs in mist above a mossy floor."""
    canvas.wash(shade((188, 220, 206), rng, 6), (222, 238, 220))
    firs(canvas, rng, 0.62, 0.42, shade((120, 172, 142), rng, 6))
    canvas.ridge(0.6, hills(rng, 0.015), shade((92, 150, 110), rng, 6))
    firs(canvas, rng, 0.72, 0.56, shade((46, 112, 80), rng, 6))
    canvas.ridge(0.7, hills(rng, 0.015), shade((66, 124, 66), rng, 6))


def peaks(canvas: Canvas, rng: Rng, level: float, height: float, colour: Colour, cap: Colour) -> None:
    """A chain of three sharp mountains with snow on top."""
    for k in rng.permutation(3).tolist():
        x, tall = 0.16 + 0.34 * k + rng.uniform(-0.08, 0.08), height * rng.uniform(0.75, 1.1)
        half, tip = tall * 0.95, level - tall
        canvas.polygon([(x, tip), (x + 1.3 * half, level + 0.3 * tall), (x - 1.3 * half, level + 0.3 * tall)], colour)
        snowline, notch = tip + 0.32 * tall, tip + 0.24 * tall
        canvas.polygon(
            [(x, tip), (x + 0.32 * half, snowline), (x + 0.12 * half, notch), (x, snowline), (x - 0.14 * half, notch),
             (x - 0.32 * half, snowline)], cap)  # fmt: skip


@place("mountains", "in the mountains", "before the mountains", "in the alps")
def mountains(canvas: Canvas, rng: Rng) -> None:
    """Two chains of snow-capped peaks behind a green valley."""
    canvas.wash(shade((126, 178, 236), rng), (232, 240, 250))
    peaks(canvas, rng, 0.72, 0.5, shade((150, 166, 198), rng, 6), (240, 246, 255))
    peaks(canvas, rng, 0.76, 0.34, shade((98, 116, 152), rng, 6), (228, 236, 250))
    canvas.ridge(0.74, hills(rng, 0.02), shade((110, 164, 96), rng, 6))


@place("beach", "on the beach", "at the beach", "on the sand")
def beach(canvas: Canvas, rng: Rng) -> None:
    """Sky, a strip of turquoise water, a line of foam and sand."""
    level = rng.uniform(0.4, 0.48)
    canvas.wash(shade((104, 192, 246), rng), (214, 240, 252), bottom=level)
    canvas.wash(shade((40, 142, 196), rng, 6), (108, 208, 214), top=level, bottom=0.8)
    shore, waves = rng.uniform(0.62, 0.7), hills(rng, 0.018)
    canvas.ridge(shore - 0.018, waves, (246, 252, 252))
    canvas.ridge(shore, waves, shade((242, 216, 160), rng, 6))
    canvas.ridge(shore + 0.14, hills(rng, 0.02), shade((232, 202, 142), rng, 6))


@place("city", "in the city at night", "in a city at night", "before the skyline")
def city(canvas: Canvas, rng: Rng) -> None:
    """Dark towers with lit windows against a purple dusk."""
    canvas.wash((26, 22, 62), shade((92, 58, 132), rng, 8), shade((214, 118, 142), rng, 8))
    for left in np.arange(0, 1, 0.125).tolist():
        top = rng.uniform(0.3, 0.62)
        canvas.box(left, top, left + 0.127, 1, shade((34, 32, 66), rng, 6))
        for row in np.arange(top + 0.04, 0.96, 0.085).tolist():
            for column in (0.022, 0.068):
                if rng.random() < 0.6:
                    canvas.box(left + column, row, left + column + 0.03, row + 0.04, (250, 214, 122))


@place("sunset", "at sunset", "in the evening sun", "in the sunset")
def sunset(canvas: Canvas, rng: Rng) -> None:
    """A low sun over dark water under orange and pink."""
    level, x = rng.uniform(0.56, 0.66), rng.uniform(0.2, 0.8)
    canvas.wash(shade((106, 62, 128), rng, 8), shade((236, 108, 92), rng, 8), (253, 196, 106), bottom=level)
    canvas.disc(x, level, 0.15, (255, 214, 128))
    canvas.disc(x, level, 0.12, (255, 240, 190))
    canvas.wash(shade((172, 84, 96), rng, 6), shade((62, 40, 92), rng, 6), top=level)
    for depth, wide in ((0.1, 0.1), (0.25, 0.075), (0.42, 0.05), (0.6, 0.03)):
        canvas.disc(x, level + (1 - level) * depth, wide, (250, 186, 120), 0.12)


@place("reef", "under water", "in the deep sea", "on the sea floor")
def reef(canvas: Canvas, rng: Rng) -> None:
    """Blue-green depth with rising bubbles and a sandy floor."""
    canvas.wash(shade((110, 214, 220), rng, 8), shade((28, 124, 164), rng, 6), (14, 70, 118))
    specks(canvas, rng, 12, 0.05, 0.8, 0.013, (190, 240, 244))
    canvas.ridge(rng.uniform(0.84, 0.88), hills(rng, 0.03), shade((196, 186, 142), rng, 6))
