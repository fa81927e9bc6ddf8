"""Searches spend a budget of estimates on finding a better picture than the first that comes.

They see noise levels, x0 and scores; no network, no prompt and no verifier by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pipelines.knobs import knob
from pipelines.method import Method
from pipelines.registry import Registry, discover

if TYPE_CHECKING:
    from pipelines.terrain import Exploring, Terrain

__all__ = ["Budget", "Search", "searches"]

Budget = Annotated[
    int,
    *knob(
        "Budget",
        "How many estimates the network may make in all, those of judging among them. A picture of 25 steps is 50.",
        ge=1,
        le=100_000,
        step=50,
    ),
]


class Search(Method):
    """(terrain) -> a generator of steps; what it tries, the terrain keeps. It ends when none is affordable."""

    off: ClassVar[bool] = False  # whether it searches nothing

    def __call__(self, terrain: Terrain) -> Exploring[None]:
        raise TypeError(f"{type(self).__name__} does not say how it searches")


searches: Registry[type[Search]] = Registry("search")
discover(__name__, list(__path__))
