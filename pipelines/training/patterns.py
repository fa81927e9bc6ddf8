"""Pictures of nothing in particular, so that the autoencoder is not at a loss before a photograph.

Dead leaves (Lee, Mumford and Huang 2001) with textures, gradients and lettering: the edges, scales and spectra of
photographs without any photograph.
"""

import math
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Rng = np.random.Generator


def pattern(rng: Random, side: int) -> Image.Image:
    """A random RGB picture of side x side."""
    numbers = np.random.default_rng(rng.randrange(2**63))
    picture = rng.choice((dead_leaves, dead_leaves, dead_leaves, clouds, lettering))(rng, numbers, side)
    if rng.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.6)))
    return picture


def clouds(rng: Random, numbers: Rng, side: int) -> Image.Image:
    """Coloured noise whose spectrum falls like that of photographs, about as 1/f."""
    field = spectrum(numbers, side, rng.uniform(0.9, 2.0), 3)
    mixed = field @ (np.eye(3) * 0.4 + np.full((3, 3), 0.6))  # the channels of the world go together
    return Image.fromarray(_bytes(mixed * rng.uniform(25, 60) + numbers.uniform(60, 190, 3)))


def dead_leaves(rng: Random, numbers: Rng, side: int) -> Image.Image:
    """Shapes of all sizes over one another, some graded, some textured."""
    large = side * 2
    picture = Image.new("RGB", (large, large), _colour(rng))
    texture = spectrum(numbers, side, rng.uniform(0.4, 1.4), 1) * rng.uniform(4, 28)
    pen = ImageDraw.Draw(picture)
    smallest = rng.uniform(0.008, 0.05)
    for _ in range(rng.randint(30, 220)):
        radius = large * smallest / math.sqrt(1 - rng.random() * (1 - (smallest / 0.45) ** 2))  # density r**-3
        _leaf(pen, rng, rng.uniform(0, large), rng.uniform(0, large), radius)
    small = np.asarray(picture.reduce(2)).astype(np.float32)
    light = spectrum(numbers, side, 2.6, 1) * rng.uniform(0, 30)
    rough = np.asarray(picture.reduce(2).convert("L"))[..., None] % 64 < rng.choice((0, 24, 48))
    return Image.fromarray(_bytes(small + light + texture * rough))


def lettering(rng: Random, numbers: Rng, side: int) -> Image.Image:
    """Lines of letters in several sizes and colours on a graded ground."""
    corners = np.stack([numbers.uniform(0, 255, 3) for _ in range(4)]).reshape(2, 2, 3)
    picture = Image.fromarray(_bytes(corners)).resize((side, side), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    y = 0.0
    while y < side:
        height = rng.choice((8, 10, 12, 16, 24, 40))
        letters = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz ABCDEFGHIJ 0123456789", k=side // 4))
        pen.text((rng.uniform(-20, 20), y), letters, fill=_colour(rng), font=ImageFont.load_default(height))
        y += height * rng.uniform(1.1, 2.5)
    return picture


def spectrum(numbers: Rng, side: int, falloff: float, channels: int) -> np.ndarray:
    """Noise of unit variance, (side, side, channels), with amplitudes falling as frequency to the -falloff."""
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    amplitude = (np.hypot(fy, fx) + 1 / side) ** -falloff
    amplitude[0, 0] = 0
    white = numbers.standard_normal((channels, side, side), dtype=np.float32)
    field = np.fft.irfft2(np.fft.rfft2(white) * amplitude, (side, side)).transpose(1, 2, 0)
    return np.asarray(field / (field.std() + 1e-6))


def _leaf(pen: ImageDraw.ImageDraw, rng: Random, x: float, y: float, radius: float) -> None:
    colour, turn = _colour(rng), rng.uniform(0, math.tau)
    kind = rng.randrange(4)
    if kind == 0:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    elif kind == 1:
        reach = radius * rng.uniform(1, 4)
        end = (x + reach * math.cos(turn), y + reach * math.sin(turn))
        pen.line([(x, y), end], fill=colour, width=max(1, round(radius / 4)))
    else:
        corners = [turn + math.tau * (k + rng.uniform(-0.25, 0.25)) / (kind + 2) for k in range(kind + 2)]
        pen.polygon([(x + radius * math.cos(a), y + radius * math.sin(a)) for a in corners], fill=colour)


def _colour(rng: Random) -> tuple[int, int, int]:
    grey, vivid = rng.uniform(0, 255), rng.uniform(0, 70)
    r, g, b = (min(255, max(0, round(grey + rng.gauss(0, vivid)))) for _ in range(3))
    return r, g, b


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
