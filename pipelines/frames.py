"""Which part of a picture a model is shown, and how large: numbers that a page tells before anything is painted."""

from __future__ import annotations

import math
from dataclasses import dataclass

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom are the first outside

NATIVE = 0.8  # from this to its inverse a part is painted pixel by pixel: models bear it, and scaling costs sharpness
LONGEST = 4  # times the model's own side; the longest edge that is painted
CLOSE = 8  # of a model's side, the most that is shown around a box which is painted close up
WIDEST = 2.0  # times as long as it is short is the part shown, where the picture has more


@dataclass(frozen=True)
class Frame:
    """A part of a picture, `box`, and the pixels at which it is painted: `width` x `height` of it, filled up by
    mirroring to `outer_width` x `outer_height`, which the model can paint."""

    box: Box
    width: int
    height: int
    outer_width: int
    outer_height: int

    @property
    def scale(self) -> float:
        """Painted pixels per pixel of the picture, along an edge; below 1 what is painted is coarser than the rest."""
        left, top, right, bottom = self.box
        return math.sqrt(self.width * self.height / ((right - left) * (bottom - top)))

    def __str__(self) -> str:
        left, top, right, bottom = self.box
        return (
            f"{right - left} x {bottom - top} pixels from ({left}, {top}), painted at {self.width} x {self.height}: "
            f"{self.scale:.2g} times the picture's own resolution"
        )


def frame(
    size: tuple[int, int], box: Box, side: int, step: int, margin: int = 0, detail: float = 1.0, close: bool = False
) -> Frame:
    """The frame in which `box` of a picture of `size` is repainted, for a model at home at `side` pixels whose
    pictures are multiples of `step`.

    It is the whole picture where that is no larger than the model, else the box with `margin` pixels around it, no
    less than half the model's side and not too narrow where the picture has more. With `close`, a box that is a small
    part of a picture of the model's own size is painted larger, too, for models paint small things worse.
    """
    side = max(step, round(side * detail))
    scale = side / math.sqrt(size[0] * size[1])
    if scale < NATIVE:
        return _painted(_widened(size, box, margin, side // 2), side, step)
    near = _widened(size, box, min(margin, side // CLOSE), side // 2)
    is_small = math.sqrt((near[2] - near[0]) * (near[3] - near[1])) < NATIVE * side
    return _painted(near if close and scale <= 1 / NATIVE and is_small else (0, 0, *size), side, step)


def _widened(size: tuple[int, int], box: Box, margin: int, least: int) -> Box:
    edges = [max(box[2 + axis] - box[axis] + 2 * margin, least) for axis in (0, 1)]
    edges = [max(edge, math.ceil(max(edges) / WIDEST)) for edge in edges]
    starts, ends = [], []
    for axis, edge in enumerate(edges):
        edge = min(edge, size[axis])
        start = round((box[axis] + box[2 + axis] - edge) / 2)
        start = max(0, min(start, size[axis] - edge))
        starts.append(start)
        ends.append(start + edge)
    return starts[0], starts[1], ends[0], ends[1]


def _painted(box: Box, side: int, step: int) -> Frame:
    edges = box[2] - box[0], box[3] - box[1]
    scale = side / math.sqrt(edges[0] * edges[1])
    scale = min(1.0 if NATIVE <= scale <= 1 / NATIVE else scale, LONGEST * side / max(edges))
    width, height = (max(1, round(edge * scale)) for edge in edges)
    return Frame(box, width, height, -(-width // step) * step, -(-height // step) * step)
