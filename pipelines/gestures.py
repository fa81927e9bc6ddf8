"""What a hand asks of a picture, as text: arrows from where something is to where it belongs, and places clicked.

"30,40 > 80,40; 10,12 > 10,12" is two arrows, the second of which holds a point still; "30,40 -90,20" adds the thing at
the first place and takes away the one at the second. All in pixels of the picture. It knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np

from pipelines.errors import BadRequest
from pipelines.knobs import knob

if TYPE_CHECKING:
    from pipelines.masks import Mask

_PLACE = r"\s*-?\d{1,6}\s*,\s*-?\d{1,6}\s*"
_ARROW = rf"{_PLACE}>{_PLACE}"
MOST = 100  # arrows in one request
LONGEST = 4000  # characters

Arrows = Annotated[
    str,
    *knob(
        "Arrows",
        "From where something is to where it belongs, in pixels: 30,40 > 80,40; the next. An arrow to itself holds.",
        "text",
        advanced=False,
        pattern=rf"^({_ARROW}(;{_ARROW})*;?)?\s*$",
        max_length=LONGEST,
    ),
]
At = Annotated[
    str,
    *knob(
        "To",
        "Where the middle of the thing belongs, in pixels: 120,80. Empty leaves it where it is.",
        "text",
        advanced=False,
        pattern=rf"^({_PLACE})?$",
        max_length=40,
    ),
]
Clicks = Annotated[
    str,
    *knob(
        "Clicks",
        "Without a mask, places on the thing, in pixels: 30,40 50,44. A minus before one takes away what is there.",
        "text",
        pattern=r"^(\s*-?\d{1,6},\d{1,6}(\s+-?\d{1,6},\d{1,6})*)?\s*$",
        max_length=LONGEST,
    ),
]


class Point(NamedTuple):
    """A place in a picture, in its pixels."""

    x: float
    y: float


class Arrow(NamedTuple):
    """From where something is to where it belongs."""

    handle: Point
    target: Point

    @property
    def length(self) -> float:
        """How far it goes, in pixels."""
        return float(np.hypot(self.target.x - self.handle.x, self.target.y - self.handle.y))


def place_in(text: str) -> Point | None:
    """The place that a text names; None for an empty one."""
    numbers = re.findall(r"-?\d+", text)
    return Point(float(numbers[0]), float(numbers[1])) if numbers else None


def arrows_of(text: str) -> list[Arrow]:
    """The arrows that a text names, wherever they lead."""
    numbers = [int(each) for each in re.findall(r"-?\d+", text)]
    places = [Point(float(x), float(y)) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
    return [Arrow(*pair) for pair in zip(places[::2], places[1::2], strict=True)]


def arrows_in(text: str, size: tuple[int, int]) -> list[Arrow]:
    """The arrows that a text names, within a picture of `size`. Raises BadRequest for what cannot be followed."""
    arrows = arrows_of(text)
    places = [place for each in arrows for place in each]
    if len(arrows) > MOST:
        raise BadRequest(f"Arrows: {len(arrows)} are too many; {MOST} can be followed at once.")
    for place in places:
        if not (0 <= place.x < size[0] and 0 <= place.y < size[1]):
            raise BadRequest(
                f"Arrows: ({place.x:.0f}, {place.y:.0f}) lies outside of the picture, which is {size[0]} x {size[1]}."
            )
    if not any(each.length for each in arrows):
        raise BadRequest("Arrows: draw at least one from where something is to where it belongs.")
    for ends, words in (([each.handle for each in arrows], "begin"), ([each.target for each in arrows], "end")):
        twice = next((each for each in ends if ends.count(each) > 1), None)
        if twice:
            raise BadRequest(f"Arrows: two {words} at ({twice.x:.0f}, {twice.y:.0f}); leave one of them.")
    return arrows


def around(arrows: Sequence[Arrow], size: tuple[int, int]) -> Mask:
    """A mask (H, W) of what arrows may change where nobody said: what lies near enough to each of their lines."""
    rows, columns = np.mgrid[: size[1], : size[0]].astype(np.float32)
    near = np.zeros((size[1], size[0]), bool)
    for handle, target in arrows:
        along = np.array([target.x - handle.x, target.y - handle.y], np.float32)
        square = float(along @ along)
        if not square:
            continue
        share = ((columns - handle.x) * along[0] + (rows - handle.y) * along[1]) / square
        share = share.clip(0, 1)
        apart = np.hypot(columns - handle.x - share * along[0], rows - handle.y - share * along[1])
        near |= apart <= 0.5 * square**0.5 + 0.1 * max(size)
    return np.where(near, 255, 0).astype(np.uint8)
