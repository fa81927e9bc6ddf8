"""Particles that are steered to what a verifier likes while they are painted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.knobs import knob
from pipelines.searches import Budget, Search, searches

if TYPE_CHECKING:
    from torch import Generator as Chance
    from torch import Tensor

    from pipelines.terrain import Exploring, Terrain

Particles = Annotated[int, *knob("Particles", "How many pictures are painted side by side.", ge=1, le=64, step=1)]
Every = Annotated[int, *knob("Every", "Steps between two selections among them.", ge=1, le=50, step=1)]
Greed = Annotated[
    float, *knob("Greed", "How firmly the better ones displace the worse: 0 not at all.", ge=0, le=50, step=0.5)
]
Potential = Annotated[
    Literal["difference", "max", "sum"],
    *knob("Selects by", "What got better since the last look, the best it ever looked, or the sum of all looks."),
]
Even = Annotated[bool, *knob("Even out", "Measures scores by how much they differ, so that one greed fits all.")]


@searches.register("fk")
class Steering(Search):
    """Paints several pictures side by side, and lets the promising ones take the place of the others on the way.

    Feynman-Kac steering, Singhal et al. 2025, Algorithm 1 and Section 3 (arXiv:2501.06848): potentials
    exp(greed (r - r before)), exp(greed max r) or exp(greed sum r); resampled where fewer than half of the particles
    count; the last look makes their product exp(greed r(x0)). It walks as DDIM does, whatever the sampler; fresh noise
    parts the copies of a particle from it, and every walk keeps the density of its levels.
    """

    title = "Steered particles (FK)"

    budget: Budget = 500
    particles: Particles = 4
    every: Every = 8
    greed: Greed = 1.0
    potential: Potential = "difference"
    even: Even = True

    def __call__(self, terrain: Terrain) -> Exploring[None]:
        begun = 0
        while particles := self._afforded(terrain):
            yield from self.steered(terrain, particles, begun)
            begun += particles

    def looks(self, steps: int) -> list[int]:
        """The levels at which it selects; the last is the end."""
        return [*range(self.every, steps, self.every), steps]

    def steered(self, terrain: Terrain, particles: int, begun: int) -> Exploring[list[Tensor]]:
        """One flock, from noise to its last selection; x0 of every particle then. Their numbers begin at `begun`."""
        import torch

        from pipelines.terrain import ETA, merged

        numbers = range(begun, begun + particles)
        xs = [terrain.start(terrain.source(k)(terrain.template), terrain.sigmas[0]) for k in numbers]
        seen: list[Tensor | None] = [None] * particles
        weights, told, level, unit = torch.zeros(particles).double(), None, 0, 1.0
        etas = [0.0] * particles
        for look in self.looks(terrain.steps):
            for k, number in enumerate(numbers):
                stream = number + 7919 * (1 + level)  # noise that nothing else draws from
                xs[k], seen[k] = yield from terrain.segment(xs[k], level, look, stream, seen[k], etas[k])
            scores = [terrain.scores(each) for each in seen if each is not None]
            reward = merged(scores)
            if self.even and told is None:
                unit = max(float(reward.std(correction=0)), 1e-9)
            reward, level = reward / unit, look
            last = look == terrain.steps
            if last:
                for each, score in zip(xs, scores, strict=True):
                    terrain.keep(each, score)
            weights, told = self._weighed(weights, reward, told, last)
            chosen = selected(weights, terrain.chance(begun + look), always=last)
            if chosen is not None:
                xs, seen, told = [xs[k] for k in chosen], [seen[k] for k in chosen], told[chosen]
                weights = weights * 0
                etas = [ETA if k in chosen[:i] else 0.0 for i, k in enumerate(chosen.tolist())]
        return xs

    def _weighed(self, weights: Tensor, reward: Tensor, told: Tensor | None, last: bool) -> tuple[Tensor, Tensor]:
        """Log weights after a look, and what the next look has to know: (k,), (k, 3) of reward, maximum and sum of all
        potentials so far."""
        import torch

        before = torch.zeros(len(reward), 3).double() if told is None else told
        highest = reward if told is None else torch.maximum(before[:, 1], reward)
        if last:
            potential = reward - before[:, 2]  # what is missing to the product
        elif self.potential == "difference":
            potential = reward - before[:, 0]
        else:
            potential = highest if self.potential == "max" else reward
        return weights + self.greed * potential, torch.stack([reward, highest, before[:, 2] + potential], 1)

    def _afforded(self, terrain: Terrain) -> int:
        looks = len(self.looks(terrain.steps))
        each = terrain.steps * terrain.call + looks * terrain.judging
        return min(self.particles, max(0, terrain.budget - terrain.meter.spent) // each)


def selected(weights: Tensor, chance: Chance, always: bool = False) -> Tensor | None:
    """Which particles go on, drawn by their log weights (k,); None where so many count that all may stay.

    One draw places all k at even distances, so that whoever deserves a place has one: systematic resampling,
    Kitagawa 1996, Appendix. It is as fair as k draws, and loses fewer of the good.
    """
    import torch

    shares, count = weights.softmax(0), len(weights)
    if not always and 1 / float(shares.square().sum()) >= count / 2:
        return None
    places = (torch.arange(count, dtype=shares.dtype) + torch.rand((), generator=chance, dtype=shares.dtype)) / count
    return torch.searchsorted(shares.cumsum(0), places).clamp(max=count - 1)
