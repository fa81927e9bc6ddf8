"""The least weights of a painter learn, and all others stay as they are. It knows no file and no event."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from pipelines.lessons import LAYERS, LoraPupil, layers_named, place_of
from pipelines.models.sparse import Sparse
from pipelines.pupil import Subject

SAMPLED = 4_000_000  # weights that say what is little
EVERY = 10  # steps between two looks at ranks, each of which counts as many times
NOTHING = 1e-6  # of the largest singular value; what is less has no direction


@dataclass(eq=False)
class SparsePupil(LoraPupil):
    """Changes of the weights below `threshold`, taught by DreamBooth's two losses and held to a low rank."""

    changes: dict[str, Sparse] = field(default_factory=dict)
    began: dict[str, Tensor] = field(default_factory=dict)  # what those weights are, (n,)
    threshold: float = 0.0
    low_rank: float = 0.0
    usual: float = 4.0  # over width^1.5: of 12 pictures of two subjects 11 are right, 5 at a third of it

    @classmethod
    def sparing(cls, subject: Subject, share: float, low_rank: float, prior: float) -> Self:
        """One that has learned nothing yet, in that share of the weights."""
        with subject.memory.use(subject.spec.net) as net:
            layers = layers_named(net, LAYERS)
            least = threshold(layers, share)
            changes, began = {}, {}
            for name, layer in layers.items():
                weight = layer.weight.detach().float().flatten()
                places = (weight.abs() < least).nonzero().flatten()
                changes[name] = Sparse(
                    torch.zeros(len(places), device=weight.device), places, tuple(layer.weight.shape)
                )
                began[name] = weight[places].clone()
            pupil = cls(subject, prior, {}, {}, place_of(net))
            pupil.changes, pupil.began, pupil.threshold, pupil.low_rank = changes, began, least, low_rank
            return pupil

    @property
    def worn(self) -> Mapping[str, Sparse]:
        """What lies on the painter, by the layers' dotted names."""
        return self.changes

    @property
    def weights(self) -> dict[str, Tensor]:
        """What is learned, float32, by name."""
        return {name: each.values for name, each in self.changes.items()}

    def losses(self, chance: torch.Generator, step: int) -> Iterator[Tensor]:
        """DreamBooth's, and now and then the nuclear norm of each change. In the second half of the steps a weight that
        has grown beyond the threshold rests, and those that are little still learn on."""
        hooks = []
        if step >= self.subject.steps // 2:
            hooks = [
                each.values.register_hook(self.resting(name))  # type: ignore[no-untyped-call]
                for name, each in self.changes.items()
            ]
        try:
            yield from super().losses(chance, step)
            if self.low_rank and step % EVERY == EVERY - 1:
                norms = [nuclear(each) for each in self.changes.values() if len(each.at)]
                yield EVERY * self.low_rank * torch.stack(norms).sum()
        finally:
            for hook in hooks:
                hook.remove()

    def resting(self, name: str) -> Callable[[Tensor], Tensor]:
        """slope -> the slope of what is little still."""

        def rest(slope: Tensor) -> Tensor:
            grown = self.began[name] + self.changes[name].values.detach()
            return slope * (grown.abs() < self.threshold)

        return rest

    def tensors(self) -> dict[str, Tensor]:
        """What is learned, as an adapter file holds it."""
        return {
            f"{self.start}.{name}.{role}": value
            for name, each in self.changes.items()
            if len(each.at)
            for role, value in each.tensors().items()
        }


def threshold(layers: Mapping[str, Any], share: float) -> float:
    """The size below which that share of all weights is; of a large network by a sample."""
    stride = max(1, sum(each.weight.numel() for each in layers.values()) // SAMPLED)
    seen = torch.cat([each.weight.detach().flatten()[::stride].abs().float() for each in layers.values()])
    return float(seen.kthvalue(max(1, round(share * len(seen)))).values)


def nuclear(change: Sparse) -> Tensor:
    """The sum of the singular values of a change, with its slope U V^T; zero has none."""
    matrix = change.matrix()
    with torch.no_grad():
        tall = matrix if len(matrix) <= matrix.shape[1] else matrix.T
        values, vectors = torch.linalg.eigh(tall @ tall.T)
        sizes = values.clamp(min=0).sqrt()
        kept = sizes > NOTHING * sizes.max().clamp(min=1e-12)
        root = (vectors * torch.where(kept, 1 / sizes.clamp(min=1e-12), 0)) @ vectors.T
        slope = root @ tall if tall is matrix else (root @ tall).T
    return (matrix * slope).sum()
