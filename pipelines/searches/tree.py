"""A tree of half-painted pictures, grown where it pays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.knobs import knob
from pipelines.searches import Budget, Search, searches

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.terrain import Exploring, Terrain

Depth = Annotated[int, *knob("Depth", "At how many places of the walk the tree forks.", ge=1, le=20, step=1)]
Aim = Annotated[
    Literal["best", "fair"],
    *knob("Aim", "Looks for the best picture (UCT), or draws pictures as often as they deserve."),
]
Greed = Annotated[float, *knob("Greed", "How much better branches are preferred.", gt=0, le=50, step=0.5)]
WIDENING, POWER = 1.0, 0.5  # a node has at most visits^0.5 children, and one more: progressive widening
CURIOSITY = 0.2  # of UCT, in deviations of what was seen


@dataclass(eq=False)
class Node:
    """A half-painted picture: x, x0 as it looks from there, and the soft value of what came of it.

    `height` counts forks from the root; `promise` is how good its end will be, by the look of x0 alone.
    """

    x: Tensor
    seen: Tensor | None = None
    height: int = 0
    visits: int = 0
    value: float = 0.0
    promise: float = 0.0
    children: list[Node] = field(default_factory=list)
    scores: Tensor | None = None  # of x0 as it looks, where that was judged

    def below(self) -> Iterator[Node]:
        """It and all that came of it, parents before their children."""
        yield self
        for child in self.children:
            yield from child.below()


@searches.register("tree")
class Tree(Search):
    """Goes on from half-painted pictures that led to good ones, and so pays for the rest of a walk only.

    Diffusion tree sampling and search, Jain et al. 2025, Algorithm 1 (arXiv:2506.20701): selection by exp(value) or
    UCT, progressive widening, a walk to the end, and V = log mean exp(greed V of the children) / greed on the way back.
    Beyond the paper, the search for the best judges x0 as it looks at every fork, as one more child of the node, and
    gives a walk up where it promises less than the best so far; sampling sees ends only, and stays fair.
    """

    title = "Tree of beginnings"

    budget: Budget = 500
    depth: Depth = 10
    aim: Aim = "best"
    greed: Greed = 3.0

    def __call__(self, terrain: Terrain) -> Exploring[None]:
        root, stream = Node(terrain.template), 0
        forks = sorted({round(terrain.steps * k / self.depth) for k in range(self.depth + 1)})
        while True:
            path = self._selected(root, forks, terrain, stream)
            first = forks[max(len(path) - 2, 0)]
            looks = len(forks) - max(len(path) - 1, 1) if self.aim == "best" else 1
            if not terrain.affords((terrain.steps - first) * terrain.call + looks * terrain.judging):
                return
            if len(path) == 1:
                noise = terrain.source(stream)(terrain.template)
                path.append(Node(terrain.start(noise, terrain.sigmas[0]), None, 1))
                root.children.append(path[-1])
            stream = yield from self._walked(terrain, root, path, forks, stream)
            for node in path:
                node.visits += 1

    def _walked(self, terrain: Terrain, root: Node, path: list[Node], forks: list[int], stream: int) -> Exploring[int]:
        """From the last of a path to the end, or until that is no longer worth it; the number of the next noise."""
        for start, end in zip(forks[len(path) - 2 :], forks[len(path) - 1 :], strict=False):
            stream += 1
            x, seen = yield from terrain.segment(path[-1].x, start, end, stream + 5000, path[-1].seen)
            child = Node(x, seen, path[-1].height + 1)
            path[-1].children.append(child)
            path.append(child)
            finished = end == terrain.steps
            if finished or self.aim == "best":
                child.scores = terrain.scores(seen)
                self._valued(root)
            if finished:
                terrain.keep(x, child.scores)  # type: ignore[arg-type]
            elif self.aim == "best" and child.promise < best_end(root, len(forks)):
                break
        return stream + 1

    def _selected(self, root: Node, forks: list[int], terrain: Terrain, stream: int) -> list[Node]:
        """The way down from the root to a node that gets another child."""
        path = [root]
        while len(path) <= len(forks) and len(path[-1].children) > WIDENING * path[-1].visits ** POWER:
            inner = [child for child in path[-1].children if child.height < len(forks)]
            if not inner:
                break  # all below are ends: another one is as good
            path.append(self._chosen(inner, path[-1].visits, terrain, stream + len(path)))
        return path

    def _chosen(self, children: list[Node], visits: int, terrain: Terrain, stream: int) -> Node:
        import torch

        if self.aim == "best":
            return max(
                children, key=lambda child: child.value + CURIOSITY * math.sqrt(math.log(visits + 1) / child.visits)
            )
        shares = (self.greed * torch.tensor([child.value for child in children])).softmax(0)
        return children[int(torch.multinomial(shares, 1, generator=terrain.chance(stream)))]

    def _valued(self, root: Node) -> None:
        """Have every node know what it promises and what became of it, in deviations of all that was seen."""
        promised(root)
        for node in reversed(list(root.below())):
            own = [node.promise] if node.scores is not None else []
            if values := [*own, *(child.value for child in node.children)]:
                most = max(values)
                node.value = (
                    most + math.log(fmean(math.exp(self.greed * (each - most)) for each in values)) / self.greed
                )


def promised(root: Node) -> None:
    """Set what nodes promise: the score of x0 as it looks, and what walks gain on the mean from there to their ends,
    for a blurred x0 is worth less than the picture it becomes."""
    from pipelines.terrain import merged

    judged = [node for node in root.below() if node.scores is not None]
    scores = merged([node.scores for node in judged if node.scores is not None])
    for node, score in zip(judged, scores.tolist(), strict=True):
        node.promise = score
    gains: dict[int, list[float]] = {node.height: [] for node in judged}  # by the height that they lead to
    for node in judged:
        for child in node.children:
            gains[child.height].append(child.promise - node.promise)
    rest, later = {}, 0.0
    for height in sorted(gains, reverse=True):
        rest[height] = later
        later += fmean(gains[height] or [0.0])
    for node in judged:
        node.promise += rest[node.height]
    middle = fmean(node.promise for node in judged)
    unit = max(pstdev([node.promise for node in judged], middle), 1e-9)
    for node in judged:
        node.promise = (node.promise - middle) / unit


def best_end(root: Node, height: int) -> float:
    """What the best of the finished pictures is worth; less than anything where there is none."""
    return max((node.promise for node in root.below() if node.height == height), default=-math.inf)
