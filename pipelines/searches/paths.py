"""A search that goes back and forth on the way down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.searches import Budget, Search, searches

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.terrain import Exploring, Terrain

Kept = Annotated[int, *knob("Kept", "How many pictures go on after each look.", ge=1, le=16, step=1)]
Branches = Annotated[int, *knob("Branches", "How many ways each of them is tried to go on.", ge=1, le=16, step=1)]
Back = Annotated[int, *knob("Back", "Steps towards noise before each try.", ge=1, le=50, step=1)]
Forth = Annotated[int, *knob("Forth", "Steps gained by each try, beside those it went back.", ge=1, le=50, step=1)]
Settled = Annotated[float, *knob("Begins at", "Share of the steps after which trying begins.", ge=0, le=0.9, step=0.05)]


@searches.register("paths")
class Paths(Search):
    """Noises half-painted pictures again, paints each on in several ways, and keeps the best.

    Ma et al. 2025, Section 3, Search over Paths (arXiv:2501.09732), on the reverse process, whatever the sampler.
    """

    title = "Better ways on the path"

    budget: Budget = 500
    kept: Kept = 2
    branches: Branches = 3
    back: Back = 2
    forth: Forth = 4
    begins: Settled = 0.3

    def __call__(self, terrain: Terrain) -> Exploring[None]:
        begun = 0
        while terrain.affords(self._cost(terrain, begun == 0)):
            yield from self._descended(terrain, begun, self._width(terrain))
            begun += 1000

    def _first(self, terrain: Terrain) -> int:
        return min(max(1, round(self.begins * terrain.steps)), terrain.steps)

    def _width(self, terrain: Terrain) -> int:
        """How many are kept, as far as the budget reaches."""
        left = terrain.budget - terrain.meter.spent
        return max([1, *(n for n in range(1, self.kept + 1) if self._round(terrain, n, self.branches) <= left)])

    def _cost(self, terrain: Terrain, least: bool) -> int:
        """The least that a descent is begun for; the first one is, if need be, a single path without branches."""
        return self._round(terrain, 1, 1 if least else self.branches)

    def _round(self, terrain: Terrain, kept: int, branches: int) -> int:
        level = self._first(terrain)
        cost = kept * (terrain.segment_cost(0, level, False) + (level == terrain.steps) * terrain.judging)
        while level < terrain.steps:
            start, end = self._leap(terrain, level, branches)
            cost += kept * branches * (terrain.segment_cost(start, end, start == level) + terrain.judging)
            level = end
        return cost

    def _leap(self, terrain: Terrain, level: int, branches: int) -> tuple[int, int]:
        """From where to where a try goes that sets out from `level`; who tries but one way does not go back."""
        return max(0, level - self.back) if branches > 1 else level, min(level + self.forth, terrain.steps)

    def _descended(self, terrain: Terrain, begun: int, kept: int) -> Exploring[None]:
        from pipelines.terrain import merged

        left = terrain.budget - terrain.meter.spent
        branches = self.branches if self._round(terrain, kept, self.branches) <= left else 1
        level, stream = self._first(terrain), begun + kept
        xs: list[tuple[Tensor, Tensor]] = []
        for number in range(begun, begun + kept):
            noise = terrain.source(number)(terrain.template)
            x = terrain.start(noise, terrain.sigmas[0])
            xs.append((yield from terrain.segment(x, 0, level, number + 500)))
        if level == terrain.steps:
            for _, seen in xs:
                terrain.keep(seen, terrain.scores(seen))
        while level < terrain.steps:
            start, end = self._leap(terrain, level, branches)
            tried: list[tuple[Tensor, Tensor]] = []
            for x, seen in (pair for pair in xs for _ in range(branches)):
                stream += 1
                back = start < level
                again = terrain.renoised(x, level, start, terrain.source(stream)(x)) if back else x
                tried.append((yield from terrain.segment(again, start, end, stream + 500, None if back else seen)))
            scores = [terrain.scores(seen) for _, seen in tried]
            if end == terrain.steps:
                for (_, seen), score in zip(tried, scores, strict=True):
                    terrain.keep(seen, score)
            order = merged(scores).argsort(descending=True, stable=True).tolist()
            xs, level = [tried[k] for k in order[:kept]], end
