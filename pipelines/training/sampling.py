"""Random scenes: which things, how large, where. Every coordinate keeps things inside the picture and apart.

Things stand upright, on a grid of the size of a latent and in four lengths of whole latents, so that equal things are
equal latents wherever they stand. With free places, sizes and slants a small network learned backdrops and smeared
every thing.
"""

from itertools import combinations
from random import Random
from typing import Literal

from pipelines.training.backdrops import Backdrop, colours
from pipelines.training.landscapes import places
from pipelines.training.world import Item, Scene, Size, kept_apart_pairs, things

Split = Literal["train", "held_out", "kept_apart"]
Kind = Literal["single", "pair", "twins", "triplets", "trio"]
Span = tuple[float, float]  # shorter side / width, shorter side / height

KINDS: dict[Kind, float] = {"single": 0.46, "pair": 0.26, "twins": 0.10, "triplets": 0.09, "trio": 0.09}
SORTS = ("single-small", "single-medium", "single-big", "pair", "twins", "triplets", "trio")
SCALES: dict[Size, float] = {"small": 0.19, "medium": 0.39, "big": 0.62}
PAIR_SCALES: dict[Size, float] = {**SCALES, "big": 0.58}
THREE_SCALE = 0.26  # three things in a row must fit
MARGIN = 0.025
GRID = 16  # pixels that places are multiples of
LENGTHS = (56, 64, 96, 144)  # pixels of things' longer sides


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
    scales = [_length(kind, size, min(width, height)) for size in sizes]
    while True:
        centres = _alone(rng, scales[0], span) if kind == "single" else _together(rng, scales, span)
        grid = [(round(x * width / GRID) * GRID / width, round(y * height / GRID) * GRID / height) for x, y in centres]
        if _fits(grid, scales, span):
            break
    items = (Item(name, *at, size, scale) for name, at, size, scale in zip(names, grid, sizes, scales, strict=True))
    return Scene(tuple(items), sample_backdrop(rng))


def sort_of(scene: Scene) -> str:
    """One of SORTS: the kind that a scene was sampled as, and of one thing how large it is."""
    count, different = len(scene.items), len({item.thing for item in scene.items})
    if count == 1:
        return f"single-{scene.items[0].size}"
    if count == 2:
        return "twins" if different == 1 else "pair"
    return "triplets" if different == 1 else "trio"


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


def _fits(centres: list[tuple[float, float]], scales: list[float], span: Span) -> bool:
    """Whether squares of these sizes lie inside the picture and apart, which the grid may have spoilt."""
    boxes = [[(at - scale * share / 2, at + scale * share / 2) for at, share in zip(centre, span, strict=True)]
             for centre, scale in zip(centres, scales, strict=True)]  # fmt: skip
    inside = all(low > 0 and high < 1 for box in boxes for low, high in box)
    return inside and all(
        any(a[1] <= b[0] or b[1] <= a[0] for a, b in zip(one, other, strict=True))
        for one, other in combinations(boxes, 2)
    )


def _length(kind: Kind, size: Size, shorter: int) -> float:
    """How long a thing is, as a share of the shorter side: the nearest of LENGTHS."""
    scale = THREE_SCALE if kind in ("triplets", "trio") else (SCALES if kind == "single" else PAIR_SCALES)[size]
    return min(LENGTHS, key=lambda length: abs(length - scale * shorter)) / shorter


def _alone(rng: Random, scale: float, span: Span) -> list[tuple[float, float]]:
    column, row = _cell(rng)
    return [(_offset(rng, column, scale * span[0]), _offset(rng, row, scale * span[1]))]


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


def _together(rng: Random, scales: list[float], span: Span) -> list[tuple[float, float]]:
    if len(scales) == 3 and rng.random() < 0.5:
        return _triangle(rng, scales, span)
    upright = rng.random() < 0.35
    along = _spread(rng, [scale * span[upright] for scale in scales])
    across = [rng.uniform(0.44, 0.56) for _ in scales]
    return list(zip(across, along, strict=True) if upright else zip(along, across, strict=True))


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
