"""Tiles: boxes that cover a picture, so that what works on them needs no more memory for a larger one. Pure numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from pipelines.frames import Box

Size = tuple[int, int]  # width, height


@dataclass(frozen=True)
class Tile:
    """A part of a picture: `inner`, which it answers for, and `outer`, which must be read to know it."""

    inner: Box
    outer: Box

    def kept(self, times: int = 1) -> Box:
        """Where the inner box lies in what the outer box became, `times` as large along an edge."""
        left, top = self.outer[:2]
        return (
            (self.inner[0] - left) * times, (self.inner[1] - top) * times,
            (self.inner[2] - left) * times, (self.inner[3] - top) * times,
        )  # fmt: skip

    def placed(self, times: int = 1) -> Box:
        """The inner box in a picture `times` as large."""
        left, top, right, bottom = self.inner
        return left * times, top * times, right * times, bottom * times


def overlapping(size: Size, side: int, halo: int) -> list[Tile]:
    """Tiles whose inner boxes, of `side` or less, cover a picture once, and whose outer ones see `halo` further.

    A network that sees no further than `halo` gives the same on tiles as on the whole: where an outer box ends, the
    picture does too, or what lies there has no say.
    """
    width, height = size
    return [
        Tile(
            (left, top, right, bottom),
            (max(0, left - halo), max(0, top - halo), min(width, right + halo), min(height, bottom + halo)),
        )
        for top, bottom in spans(height, side)
        for left, right in spans(width, side)
    ]


def alike(size: Size, side: int, halo: int) -> list[Tile]:
    """As `overlapping`, but with outer boxes of `side`, all of one size, so that a large picture needs no more memory
    than one of little more than a tile. Raises ValueError where a tile holds nothing beside its halo."""
    columns, lines = (_alike(edge, side, halo) for edge in size)
    return [
        Tile((inner[0], line[0], inner[1], line[1]), (outer[0], rows[0], outer[1], rows[1]))
        for line, rows in lines
        for inner, outer in columns
    ]


def _alike(length: int, side: int, halo: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Inner and outer ends along one edge; the outer ones spread evenly, the inner ones meet where two overlap."""
    if side <= 2 * halo:
        raise ValueError(f"a tile of {side} does not hold a halo of {halo} and more")
    if length <= side:
        return [((0, length), (0, length))]
    count = -(-(length - 2 * halo) // (side - 2 * halo))
    starts = [round(k * (length - side) / (count - 1)) for k in range(count)]
    meets = [(one + side + other) // 2 for one, other in pairwise(starts)]
    return [(ends, (start, start + side)) for start, ends in zip(starts, pairwise([0, *meets, length]), strict=True)]


def spans(length: int, side: int) -> Iterator[tuple[int, int]]:
    """A length cut into pieces of `side`; the last may be shorter."""
    return ((start, min(length, start + side)) for start in range(0, length, side))


def shifted(size: Size, side: int, step: int, rng: Random) -> list[Box]:
    """Tiles that do not overlap, of a grid that lies elsewhere each time, all edges but the last multiples of `step`.

    No tile is narrower than half a side, unless the picture is, nor wider than one and a half: a network sees enough
    around everything, and needs memory for no more. Zheng et al. 2023, "Any-Size-Diffusion", section 3.3
    (arXiv:2308.16582), whose offsets these are.
    """
    width, height = size
    columns, lines = (list(pairwise(_cuts(edge, side, step, rng))) for edge in (width, height))
    return [(left, top, right, bottom) for top, bottom in lines for left, right in columns]


def _cuts(length: int, side: int, step: int, rng: Random) -> list[int]:
    if side % step or side < 2 * step:
        raise ValueError(f"a tile of {side} does not hold two steps of {step}")
    if length <= side:
        return [0, length]
    inside = [at for at in range(step * rng.randint(1, side // step), length, side) if side <= 2 * min(at, length - at)]
    if not inside and 2 * length > 3 * side:
        inside = [length // 2 // step * step]
    return [0, *inside, length]
