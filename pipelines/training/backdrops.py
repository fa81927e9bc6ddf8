"""What stands behind the things: the plain colours, and the canvas that the landscapes are painted on."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Rng = np.random.Generator

OVERSAMPLING = 2  # shapes are drawn this much larger and averaged down, which is the antialiasing


@dataclass(frozen=True)
class Backdrop:
    """What stands behind the things: the name of a colour or place, and the seed of its variation."""

    name: str
    seed: int


colours: dict[str, Colour] = {
    "red": (214, 56, 56), "orange": (243, 146, 55), "yellow": (247, 214, 80), "green": (88, 172, 94),
    "blue": (76, 128, 226), "purple": (140, 88, 196), "pink": (243, 160, 188), "brown": (138, 96, 66),
    "gray": (146, 150, 156), "white": (248, 248, 248), "black": (30, 30, 34),
}  # fmt: skip


class Canvas:
    """A picture being painted, in fractions of its width and height; (0, 0) is the upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width * OVERSAMPLING, height * OVERSAMPLING)
        self.picture = Image.new("RGB", self.size)
        self.pen = ImageDraw.Draw(self.picture)

    def wash(self, *stops: Colour, top: float = 0.0, bottom: float = 1.0) -> None:
        """Fill the band from `top` to `bottom` with a smooth vertical gradient through the colours."""
        y0, y1 = round(top * self.size[1]), round(bottom * self.size[1])
        where = np.linspace(0, len(stops) - 1, max(1, y1 - y0))
        column = np.stack([np.interp(where, range(len(stops)), [stop[c] for stop in stops]) for c in range(3)], 1)
        band = Image.fromarray(np.rint(column).astype(np.uint8)[:, None])
        self.picture.paste(band.resize((self.size[0], max(1, y1 - y0))), (0, y0))

    def polygon(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """Fill a polygon given by its corners."""
        self.pen.polygon([(x * self.size[0], y * self.size[1]) for x, y in points], fill=colour)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill an upright rectangle."""
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour, flatness: float = 1.0) -> None:
        """Fill an ellipse of horizontal `radius` (fraction of the shorter side), `flatness` times as high."""
        r = radius * min(self.size)
        cx, cy = x * self.size[0], y * self.size[1]
        self.pen.ellipse((cx - r, cy - r * flatness, cx + r, cy + r * flatness), fill=colour)

    def ridge(self, level: float, waves: list[tuple[float, float, float]], colour: Colour) -> None:
        """Fill everything below a curve: `level` plus sines given as (amplitude, frequency, phase)."""
        x = np.linspace(0, 1, 65)
        y = np.full_like(x, level)
        for a, f, p in waves:
            y += a * np.sin(2 * np.pi * (f * x + p))
        self.polygon([(0.0, 1.0), *zip(x.tolist(), y.tolist(), strict=True), (1.0, 1.0)], colour)

    def finish(self) -> Image.Image:
        """Average the oversampled picture down to the size that was asked for."""
        return self.picture.reduce(OVERSAMPLING)


def shade(colour: Colour, rng: Rng, spread: int = 10) -> Colour:
    """The colour, a little lighter or darker and a little off in hue."""
    moved = np.array(colour) + rng.integers(-spread, spread + 1) + rng.integers(-4, 5, 3)
    r, g, b = np.clip(moved, 0, 255).tolist()
    return r, g, b
