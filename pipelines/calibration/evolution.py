"""Evolutionary search: of levels, as AutoDiffusion, and of levels and solvers together, as S3."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.calibration.subject import Subject
    from pipelines.types import Sampling

T = TypeVar("T")
KEPT = 6  # parents of a generation
BORN = 10  # children of a generation


@dataclass(frozen=True)
class Genome:
    """Which levels of a fine grid are visited, and how each step is solved."""

    levels: tuple[int, ...]  # rising indices; the grid's last level, 0, comes behind them
    steps: tuple[tuple[str, int, bool], ...]  # (x0 or eps, memory, corrects) of each

    def solver(self) -> list[dict[str, Any]]:
        """The steps as a plan has them."""
        return [{"predicts": kind, "memory": memory, "corrects": corrects} for kind, memory, corrects in self.steps]


def evolved(
    parents: list[T], varied: Callable[[T, T, random.Random], T], cost: Callable[[T], float], budget: int, seed: int = 0
) -> tuple[T, float]:
    """The cheapest of all that were tried, `budget` of them, and its cost. The parents are tried first."""
    chance = random.Random(seed)
    tried: dict[T, float] = {}
    for one in parents[:budget]:
        tried[one] = cost(one)
    while len(tried) < budget:
        best = sorted(tried, key=tried.__getitem__)[:KEPT]
        for _ in range(BORN):
            child = varied(chance.choice(best), chance.choice(best), chance)
            if child not in tried and len(tried) < budget:
                tried[child] = cost(child)
    one = min(tried, key=tried.__getitem__)
    return one, tried[one]


def moved(one: Genome, other: Genome, chance: random.Random, fine: int) -> Genome:
    """A child whose levels come from both parents, one or two of them moved. AutoDiffusion, Section 3.3."""
    levels = sorted(chance.choice(pair) for pair in zip(one.levels, other.levels, strict=True))
    for _ in range(chance.randint(1, 2)):
        place = chance.randrange(1, len(levels)) if len(levels) > 1 else 0
        levels[place] += round(chance.gauss(0, fine / 16)) or 1
    levels[0] = 0
    for i in range(1, len(levels)):  # rising, and below the end
        levels[i] = max(levels[i - 1] + 1, min(levels[i], fine - len(levels) + i))
    return replace(one, levels=tuple(levels))


def resolved(one: Genome, other: Genome, chance: random.Random, fine: int) -> Genome:
    """A child whose steps are solved as in either parent, one of them anew, and whose levels may have moved."""
    steps = [chance.choice(pair) for pair in zip(one.steps, other.steps, strict=True)]
    steps[chance.randrange(len(steps))] = (chance.choice(["x0", "eps"]), chance.randint(1, 3), chance.random() < 0.5)
    child = replace(one, steps=tuple(steps))
    return moved(child, replace(other, steps=child.steps), chance, fine) if chance.random() < 0.6 else child


def parents(steps: int, fine: int) -> list[Genome]:
    """Even and crowded levels, each with the solvers that are there by name: 2M, 3M, DEIS and UniPC."""
    grids = [tuple(round((i / steps) ** power * (fine - 1)) for i in range(steps)) for power in (1.0, 0.8, 1.25)]
    ways = [("x0", 2, False), ("x0", 3, False), ("eps", 3, False), ("x0", 2, True)]
    return [Genome(grid, (way,) * steps) for grid in grids for way in ways if len(set(grid)) == steps]


def cost_of(subject: Subject, fine: Tensor, reference: Tensor) -> Callable[[Genome], float]:
    """How far the walk of a genome ends from the reference, as the median over starting points."""
    from pipelines.samplers.usf import solved

    def cost(genome: Genome) -> float:
        sigmas = fine[[*genome.levels, len(fine) - 1]]
        return subject.error(
            _ended(solved(genome.solver(), subject.denoise, subject.starts, sigmas, subject.path)), reference
        )

    return cost


def _ended(walk: Sampling) -> Tensor:
    while True:
        try:
            next(walk)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
