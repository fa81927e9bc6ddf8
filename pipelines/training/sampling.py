"""Random scenes: which things, how large, where. Every coordinate keeps things inside the picture and apart."""

from random import Random
from typing import Literal

from pipelines.training.backdrops import Backdrop, colours
from pipelines.training.landscapes import places
from pipelines.training.world import Item, Scene, Size, kept_apart_pairs, things

Split = Literal["train", "held_out", "kept_apart"]
Kind = Literal["single", "pair", "twins", "triplets", "trio"]
Span = tuple[float, float]  # shorter side / width, shorter side / height

KINDS: dict[Kind, float] = {"single": 0.46, "pair": 0.26, "twins": 0.10, "triplets": 0.09, "trio": 0.09}
SCALES: dict[Size, tuple[float, float]] = {"small": (0.19, 0.25), "medium": (0.35, 0.43), "big": (0.56, 0.68)}
PAIR_SCALES: dict[Size, tuple[float, float]] = {**SCALES, "big": (0.54, 0.62)}
THREE_SCALES = (0.26, 0.30)  # three things in a row must fit
MARGIN = 0.025


def sample_scene(
    rng: Random, split: Split = "train", kind: Kind | None = None, width: int = 256, height: int = 256
) -> Scene:
    """A random scene for pictures of this shape.

    "train" and "held_out" never show two things of a kept-apart pair together (they differ in their random
    streams), "kept_apart" always is such a pair.
    """
    if split == "kept_apart":
        kind = "pair"
    elif kind is None:
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    names, sizes = _names(rng, split, kind), _sizes(rng, kind)
    span = (min(width, height) / width, min(width, height) / height)
    items = _single(rng, names[0], sizes[0], span) if kind == "single" else _several(rng, names, sizes, span)
    return Scene(items, sample_backdrop(rng))


def sample_backdrop(rng: Random) -> Backdrop:
    """A colour in two of five scenes, else a place."""
    return Backdrop(rng.choice(list(colours) if rng.random() < 0.4 else list(places)), rng.randrange(2**31))


def _names(rng: Random, split: Split, kind: Kind) -> list[str]:
    if split == "kept_apart":
        return rng.sample(rng.choice(sorted(sorted(pair) for pair in kept_apart_pairs)), 2)
    if kind in ("single", "twins", "triplets"):
        return [rng.choice(list(things))] * {"single": 1, "twins": 2, "triplets": 3}[kind]
    while True:
        names = rng.sample(list(things), 2 if kind == "pair" else 3)
        if not any(pair <= set(names) for pair in kept_apart_pairs):
            return names


def _sizes(rng: Random, kind: Kind) -> list[Size]:
    if kind == "single":
        return [rng.choice(("small", "medium", "medium", "big"))]
    if kind == "pair" and rng.random() < 0.3:
        return rng.sample(["small", "big"], 2)
    return ["medium"] * (3 if kind in ("triplets", "trio") else 2)


def _item(rng: Random, name: str, x: float, y: float, size: Size, scale: float) -> Item:
    return Item(name, x, y, size, scale, rng.uniform(-6, 6), rng.random() < 0.25)


def _single(rng: Random, name: str, size: Size, span: Span) -> tuple[Item, ...]:
    scale = rng.uniform(*SCALES[size])
    x, y = (_offset(rng, where, scale * share) for where, share in zip(_cell(rng), span, strict=True))
    return (_item(rng, name, x, y, size, scale),)


def _cell(rng: Random) -> tuple[int, int]:
    """Column and row, each 0..2: the middle in three of ten scenes, else one of the other eight."""
    if rng.random() < 0.3:
        return 1, 1
    k = rng.choice((0, 1, 2, 3, 5, 6, 7, 8))
    return k % 3, k // 3


def _offset(rng: Random, where: int, extent: float) -> float:
    """A centre near the near edge (0), in the middle (1) or near the far edge (2) for something of this extent."""
    near = extent / 2 + MARGIN
    edge = rng.uniform(near, max(near + 0.02, min(near + 0.08, 0.38)))
    return (edge, rng.uniform(0.47, 0.53), 1 - edge)[where]


def _several(rng: Random, names: list[str], sizes: list[Size], span: Span) -> tuple[Item, ...]:
    three = len(names) == 3
    scales = [rng.uniform(*(THREE_SCALES if three else PAIR_SCALES[size])) for size in sizes]
    if three and rng.random() < 0.5:
        centres = _triangle(rng, scales, span)
    else:
        upright = rng.random() < 0.35
        along = _spread(rng, [scale * span[upright] for scale in scales])
        across = [rng.uniform(0.44, 0.56) for _ in scales]
        centres = list(zip(across, along, strict=True) if upright else zip(along, across, strict=True))
    return tuple(_item(rng, *one) for one in zip(names, *zip(*centres, strict=True), sizes, scales, strict=True))


def _triangle(rng: Random, scales: list[float], span: Span) -> list[tuple[float, float]]:
    """One above and two below, or two above and one below, in reading order."""
    upper, lower = _spread(rng, [max(scales) * span[1]] * 2)
    lone = rng.uniform(0.44, 0.56)
    if rng.random() < 0.5:
        left, right = _spread(rng, [scale * span[0] for scale in scales[1:]])
        return [(lone, upper), (left, lower), (right, lower)]
    left, right = _spread(rng, [scale * span[0] for scale in scales[:2]])
    return [(left, upper), (right, upper), (lone, lower)]


def _spread(rng: Random, extents: list[float]) -> list[float]:
    """Centres of intervals side by side in the unit interval, with random gaps before, between and after."""
    shares = [rng.gammavariate(5.0, 1.0) for _ in range(len(extents) + 1)]
    unit = (1 - 2 * MARGIN - sum(extents)) / sum(shares)
    centres, edge = [], MARGIN
    for share, extent in zip(shares, extents, strict=False):
        centres.append(edge + share * unit + extent / 2)
        edge += share * unit + extent
    return centres
