"""A search that tries each step until it got better, and rolls over what it did not need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.searches import Budget, Search, searches

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.terrain import Exploring, Terrain


@searches.register("rbf")
class Rollover(Search):
    """Tries every step with other noise until the picture promises more, and saves what is left for later steps.

    Rollover budget forcing, Kim et al. 2025, Algorithm 1 (arXiv:2503.19385), made for flow models: their walk becomes
    a stochastic one, here the reverse process of any path. What is left at the end begins another picture.
    """

    title = "Rollover budget (RBF)"

    budget: Budget = 500

    def __call__(self, terrain: Terrain) -> Exploring[None]:
        stream = 0
        while terrain.affords(terrain.steps * (terrain.call + terrain.judging)):
            stream = yield from self._descended(terrain, stream)

    def _descended(self, terrain: Terrain, stream: int) -> Exploring[int]:
        """One picture for all that is left; returns the number of the next noise."""
        from pipelines.terrain import best_of

        looks = (terrain.budget - terrain.meter.spent) // (terrain.call + terrain.judging)
        quota, spare = divmod(looks, terrain.steps)
        x, seen, scores = terrain.template, terrain.template, None
        for level in range(-1, terrain.steps - 1):
            tried: list[tuple[Tensor, Tensor, Tensor]] = []
            allowed = quota + spare
            while len(tried) < allowed:
                candidate = self._candidate(terrain, x, seen, level, stream)
                promised = yield from terrain.look(candidate, level + 1)
                tried.append((candidate, promised, terrain.scores(promised)))
                stream += 1
                if scores is not None and best_of([scores, tried[-1][2]]) == 1:
                    break  # better than the step before: what is left of the quota rolls over
            spare = allowed - len(tried)
            x, seen, scores = tried[best_of([told for _, _, told in tried])]
        terrain.keep(seen, terrain.scores(seen))  # the last step goes to x0 itself
        return stream

    def _candidate(self, terrain: Terrain, x: Tensor, seen: Tensor, level: int, stream: int) -> Tensor:
        source = terrain.source(stream)
        if level < 0:
            return terrain.start(source(terrain.template), terrain.sigmas[0])
        return terrain.stepped(x, seen, level, source)
