"""Line art: smooth strokes in ink on paper, hatching, flat fills with outlines, and rows of text. Drawn twice as large
and reduced, so that its edges are antialiased.
"""

import math
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipelines.training.patterns import spectrum

Colour = tuple[int, int, int]
Curve = list[tuple[float, float]]


def line_art(rng: Random, side: int) -> Image.Image:
    """A random drawing, RGB, side x side."""
    large, paper = 2 * side, _paper(rng)
    ink = _ink(rng, paper)
    picture = Image.new("RGB", (large, large), paper)
    pen = ImageDraw.Draw(picture)
    for _ in range(rng.randint(0, 5)):
        outline = _blob(rng, large)
        pen.polygon(outline, fill=_between(rng, paper, ink))
        pen.line([*outline, outline[0]], fill=ink, width=rng.randint(1, 6), joint="curve")
    for _ in range(rng.randint(2, 14)):
        pen.line(_curve(rng, large), fill=ink, width=rng.choice((1, 2, 2, 3, 4, 8)), joint="curve")
    for _ in range(rng.randint(0, 3)):
        _hatch(pen, rng, large, ink)
    for _ in range(rng.randint(0, 4)):
        _write(pen, rng, large, ink)
    small = picture.reduce(2)
    if rng.random() < 0.5:
        return small
    grain = spectrum(np.random.default_rng(rng.randrange(2**63)), side, rng.uniform(0.2, 1.5), 1) * rng.uniform(1, 6)
    return Image.fromarray((np.asarray(small, np.float32) + grain).round().clip(0, 255).astype(np.uint8))


def _curve(rng: Random, side: int) -> Curve:
    """A cubic Bézier curve somewhere on the sheet."""
    p = [(rng.uniform(-0.1, 1.1) * side, rng.uniform(-0.1, 1.1) * side) for _ in range(4)]
    return [_bezier(p, k / 40) for k in range(41)]


def _bezier(p: Curve, t: float) -> tuple[float, float]:
    weights = ((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t * t, t**3)
    return sum(w * x for w, (x, _) in zip(weights, p, strict=True)), sum(
        w * y for w, (_, y) in zip(weights, p, strict=True)
    )


def _blob(rng: Random, side: int) -> Curve:
    """A closed, wavy outline."""
    x, y, radius = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0.05, 0.3) * side
    waves = [(rng.randint(2, 7), rng.uniform(0, 0.2), rng.uniform(0, math.tau)) for _ in range(3)]
    reach = [1 + sum(size * math.sin(n * k / 15 + turn) for n, size, turn in waves) for k in range(94)]
    return [(x + radius * r * math.cos(k / 15), y + radius * r * math.sin(k / 15)) for k, r in enumerate(reach)]


def _hatch(pen: ImageDraw.ImageDraw, rng: Random, side: int, ink: Colour) -> None:
    x, y, extent = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0.1, 0.4) * side
    apart, turn, width = rng.uniform(4, 16), rng.uniform(0, math.pi), rng.choice((1, 2, 3))
    along = math.cos(turn), math.sin(turn)
    for k in range(int(extent / apart)):
        left, top = x - along[1] * k * apart, y + along[0] * k * apart
        pen.line([(left, top), (left + along[0] * extent, top + along[1] * extent)], fill=ink, width=width)


def _write(pen: ImageDraw.ImageDraw, rng: Random, side: int, ink: Colour) -> None:
    height, x, y = rng.choice((14, 18, 24, 32, 48, 80)), rng.uniform(-0.1, 0.6) * side, rng.uniform(0, 0.9) * side
    words = " ".join(
        "".join(rng.choices("aaabcdeeeefghiiklmnnooprrsssttuvwyzABDEHMNRST0123456789.,-", k=5)) for _ in "abcd"
    )
    pen.text((x, y), words, fill=ink, font=ImageFont.load_default(height))


def _paper(rng: Random) -> Colour:
    if rng.random() < 0.5:
        return 255, 255, 255
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def _ink(rng: Random, paper: Colour) -> Colour:
    """Dark on light paper, light on dark paper, as a rule in a tone of its own."""
    light = sum(paper) < 384
    red, green, blue = (rng.randint(170, 255) if light else rng.randint(0, 90) for _ in range(3))
    return red, green, blue


def _between(rng: Random, one: Colour, other: Colour) -> Colour:
    red, green, blue = (round(a + (b - a) * rng.random()) for a, b in zip(one, other, strict=True))
    return red, green, blue
