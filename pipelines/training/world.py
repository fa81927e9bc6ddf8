"""What the drawn world consists of: things with their artwork, items placed in scenes, pairs kept apart for judging."""

import csv
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Literal
from zlib import crc32

from PIL import Image

from pipelines.training.backdrops import Backdrop

WORLD = Path(__file__).resolve().parents[2] / "assets" / "world"

Size = Literal["small", "medium", "big"]


@dataclass(frozen=True)
class Thing:
    """Something that can stand in a scene: its words and the file of its artwork."""

    name: str
    plural: str
    synonyms: tuple[str, ...]
    sprite: Path


@dataclass(frozen=True)
class Item:
    """One thing in a scene: centre in fractions of width and height, longer side in fractions of the shorter side."""

    thing: str
    x: float
    y: float
    size: Size = "medium"
    scale: float = 0.38
    angle: float = 0.0
    mirrored: bool = False

    @property
    def column(self) -> str:
        """Which part of the picture the centre is in: left, middle or right."""
        return "left" if self.x < 0.42 else "right" if self.x > 0.58 else "middle"

    @property
    def row(self) -> str:
        """Which part of the picture the centre is in: top, middle or bottom."""
        return "top" if self.y < 0.42 else "bottom" if self.y > 0.58 else "middle"

    @property
    def position(self) -> str:
        """One of nine: middle, left, top, "top left" and so on."""
        words = [word for word in (self.row, self.column) if word != "middle"]
        return " ".join(words) or "middle"


@dataclass(frozen=True)
class Scene:
    """Items, painted in order, before a backdrop."""

    items: tuple[Item, ...]
    backdrop: Backdrop

    def without(self, index: int) -> "Scene":
        """The same scene with one item taken away."""
        return replace(self, items=self.items[:index] + self.items[index + 1 :])


def sprite_path(codepoint: str) -> Path:
    """Where the artwork of a character (hexadecimal) lies."""
    return WORLD / "sprites" / f"{codepoint.lower()}.png"


def _read_things(strange: bool) -> dict[str, Thing]:
    with (WORLD / "things.csv").open(encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if (row["stranger"] == "yes") == strange]
    return {
        row["name"]: Thing(row["name"], row["plural"], tuple(row["synonyms"].split()), sprite_path(row["codepoint"]))
        for row in rows
    }


things: dict[str, Thing] = _read_things(strange=False)
strangers: dict[str, Thing] = _read_things(strange=True)
kept_apart_pairs: frozenset[frozenset[str]] = frozenset(
    frozenset(pair) for pair in combinations(sorted(things), 2) if crc32("+".join(pair).encode()) % 10 == 0
)


@cache
def sprite(name: str) -> Image.Image:
    """The artwork of a thing or stranger, RGBA, trimmed to what is not transparent."""
    with Image.open((things.get(name) or strangers[name]).sprite) as picture:
        return picture.convert("RGBA")
