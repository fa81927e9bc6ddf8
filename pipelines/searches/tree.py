"""A tree of half-painted pictures, grown where it pays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
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
WIDENING, POWER = 1.5, 0.5  # a node has at most 1.5 visits^0.5 children: progressive widening
CURIOSITY = 1.0  # of UCT, in deviations of what was seen


@dataclass(eq=False)
class Node:
    """A half-painted picture at a level: x, x0 as it looks from there, and the soft value of what came of it."""

    x: Tensor
    seen: Tensor | None = None
    visits: int = 0
    value: float = 0.0
    children: list[Node] = field(default_factory=list)
    scores: Tensor | None = None  # of an end

    def ends(self) -> Iterator[Node]:
        """The finished pictures below."""
        if self.scores is not None:
            yield self
        for child in self.children:
            yield from child.ends()


@searches.register("tree")
class Tree(Search):
    """Goes on from half-painted pictures that led to good ones, and so pays for the rest of a walk only.

    Diffusion tree sampling and search, Jain et al. 2025, Algorithm 1 (arXiv:2506.20701): selection by exp(value) or
    UCT, progressive widening, a walk to the end, and V = log mean exp(greed V of the children) / greed on the way back.
    """

    title = "Tree of beginnings"

    budget: Budget = 500
    depth: Depth = 4
    aim: Aim = "best"
    greed: Greed = 3.0

    def __call__(self, terrain: Terrain) -> Exploring[None]:
        root, stream = Node(terrain.template), 0
        forks = sorted({round(terrain.steps * k / self.depth) for k in range(self.depth + 1)})
        while True:
            path = self._selected(root, forks, terrain, stream)
            first = forks[max(len(path) - 2, 0)]
            if not terrain.affords((terrain.steps - first) * terrain.call + terrain.judging):
                return
            if len(path) == 1:
                noise = terrain.source(stream)(terrain.template)
                path.append(Node(terrain.start(noise, terrain.sigmas[0])))
                root.children.append(path[-1])
            for start, end in zip(forks[len(path) - 2 :], forks[len(path) - 1 :], strict=False):
                stream += 1
                x, seen = yield from terrain.segment(path[-1].x, start, end, stream + 5000, path[-1].seen)
                path[-1].children.append(Node(x, seen))
                path.append(path[-1].children[-1])
            leaf = path[-1]
            leaf.scores = terrain.scores(leaf.x)
            terrain.keep(leaf.x, leaf.scores)
            stream += 1
            self._told(root, path)

    def _selected(self, root: Node, forks: list[int], terrain: Terrain, stream: int) -> list[Node]:
        """The way down from the root to a node that gets another child."""
        path = [root]
        while len(path) <= len(forks) and len(path[-1].children) >= WIDENING * max(path[-1].visits, 1) ** POWER:
            inner = [child for child in path[-1].children if child.scores is None]
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

    def _told(self, root: Node, path: list[Node]) -> None:
        """Have every node know what became of it, in deviations of all that was seen."""
        import torch

        from pipelines.terrain import merged

        ends = list(root.ends())
        scores = merged([each.scores for each in ends if each.scores is not None])
        unit = max(float(scores.std(correction=0)), 1e-9)
        for end, score in zip(ends, ((scores - scores.mean()) / unit).tolist(), strict=True):
            end.value = score
        for node in path:
            node.visits += 1
        for node in reversed(list(inner_nodes(root))):
            values = torch.tensor([child.value for child in node.children])
            node.value = float(((self.greed * values).logsumexp(0) - math.log(len(values))) / self.greed)


def inner_nodes(root: Node) -> Iterator[Node]:
    """All that have children, parents before them."""
    if root.children:
        yield root
    for child in root.children:
        yield from inner_nodes(child)
