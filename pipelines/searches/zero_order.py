"""Climbing from noise to better noise nearby."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.searches import Budget, Search, searches

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.terrain import Exploring, Terrain, Try

Seeds = Annotated[int, *knob("Seeds", "Of how many pictures the best is where it begins.", ge=1, le=64, step=1)]
Neighbours = Annotated[
    int, *knob("Neighbours", "How many pictures it tries around the best before it moves.", ge=1, le=32, step=1)
]
Reach = Annotated[
    float, *knob("Reach", "How far neighbours lie: near 0 the same picture, at 1 another seed.", gt=0, le=1, step=0.05)
]


@searches.register("zero_order")
class ZeroOrder(Search):
    """Starts at the best of a few seeds, and climbs from there to better noise nearby.

    Ma et al. 2025, Section 3, Zero-Order Search (arXiv:2501.09732). Neighbours lie on the sphere that noise lies on.
    """

    title = "Better and better noise"

    budget: Budget = 500
    seeds: Seeds = 6
    neighbours: Neighbours = 1
    reach: Reach = 0.4

    def __call__(self, terrain: Terrain) -> Exploring[None]:
        from pipelines.terrain import best_of

        pivot: tuple[Tensor, Try] | None = None
        number = 0
        while terrain.affords(terrain.whole + terrain.judging):
            around = [pivot] if pivot else []
            for _ in range(self.neighbours if pivot else self.seeds):
                if not terrain.affords(terrain.whole + terrain.judging):
                    break
                noise = terrain.source(number)(terrain.template)
                if pivot:
                    noise = (1 - self.reach**2) ** 0.5 * pivot[0] + self.reach * noise
                    around.append((noise, (yield from self._tried(terrain, noise))))
                else:
                    around.append((noise, (yield from terrain.painted(number))))
                number += 1
            pivot = around[best_of([tried.scores for _, tried in around])]

    def _tried(self, terrain: Terrain, noise: Tensor) -> Exploring[Try]:
        """What becomes of `noise` where all that is drawn later is the same for all."""
        later = terrain.source(0)
        later(terrain.template)
        return (yield from terrain.tried(noise, later, 0))
