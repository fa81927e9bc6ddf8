"""A subject set in places where nobody saw it, so that its word is not learned for the places it was seen in.

Dwibedi, Misra and Hebert 2017, "Cut, Paste and Learn" (arXiv:1708.01642). Functions of pictures; it knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from PIL import Image as Images
from PIL.Image import Image, Resampling

PLACES = (
    "on a beach", "in a forest", "in the snow", "in a city", "on a red background", "in the mountains", "in a meadow",
    "on a white background", "in the desert", "in the sky", "on a blue background", "on the sea", "under water",
    "on a green background", "at night", "at sunset", "on a black background", "on a yellow background",
    "on a pink background", "on a gray background",
)  # fmt: skip
SIZES = (3 / 8, 3 / 8, 9 / 16)  # of a subject's longer side over the picture's
CENTRED = 0.5  # the share of collages whose subject stands in the middle


@dataclass(frozen=True)
class Collage:
    """A picture, an L mask of its subject, and which ground it stands before."""

    picture: Image
    mask: Image
    ground: int


def collages(cuts: Sequence[Image], grounds: Sequence[Image], count: int, cell: int, seed: int) -> list[Collage]:
    """`count` pictures of a subject before the grounds in turn, in several sizes, its middle on multiples of `cell`
    pixels, so that equal things become equal latents."""
    rng = Random(seed)
    return [_collage(cuts[k % len(cuts)], grounds, k % len(grounds), cell, rng) for k in range(count)]


def _collage(cut: Image, grounds: Sequence[Image], which: int, cell: int, rng: Random) -> Collage:
    ground = grounds[which]
    side = ground.width
    longest = max(1, round(rng.choice(SIZES) * side / cell)) * cell
    ratio = longest / max(cut.size)
    subject = cut.resize([max(1, round(edge * ratio)) for edge in cut.size], Resampling.LANCZOS)
    least = -(-longest // (2 * cell))
    most = max(least, side // cell - least)
    middle = side // (2 * cell)
    across, down = (middle, middle) if rng.random() < CENTRED else (rng.randint(least, most), rng.randint(least, most))
    at = (across * cell - subject.width // 2, down * cell - subject.height // 2)
    picture, mask = ground.copy(), Images.new("L", ground.size)
    picture.paste(subject, at, subject)
    mask.paste(subject.getchannel("A"), at)
    return Collage(picture, mask, which)
