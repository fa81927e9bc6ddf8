"""The best of many seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.searches import Budget, Search, searches

if TYPE_CHECKING:
    from pipelines.terrain import Exploring, Terrain


@searches.register("random")
class Random(Search):
    """Paints from seed after seed and keeps the best. Ma et al. 2025, Section 3, Random Search (arXiv:2501.09732)."""

    title = "Best of many seeds"

    budget: Budget = 500

    def __call__(self, terrain: Terrain) -> Exploring[None]:
        number = 0
        while terrain.affords(terrain.whole + terrain.judging):
            yield from terrain.painted(number)
            number += 1
