"""A part of a picture shown to the network in the middle of what it sees.

Asked for a thing and not told where, a painter puts it near the middle of the picture; where a mask lies elsewhere,
half of it is then beyond the mask and lost. The view moves over the picture instead, as the windows of Bar-Tal et al.
2023, "MultiDiffusion" (arXiv:2302.08113), and beyond the edges it sees the picture mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipelines.guidance.regions import mirrored

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.models import ModelSpec
    from pipelines.types import Cond, Predict

Away = tuple[int, int]  # latents down and to the right


def away_of(holes: Tensor) -> Away:
    """How far the middle of the box around holes (1, 1, h, w) is from the middle of the picture."""
    height, width = holes.shape[-2:]
    rows, columns = holes[0, 0].nonzero(as_tuple=True)
    if not len(rows):
        return 0, 0
    down, right = (float(each.min() + each.max() + 1) / 2 for each in (rows, columns))
    return round(down - height / 2), round(right - width / 2)


def centred(spec: ModelSpec, away: Away) -> ModelSpec:
    """The same model with its view moved so far: it sees x, and what it reads beside x, from there, and what it
    estimates is put back. Estimates of what is out of sight are of something else."""

    def predictor(net: Any, beside: Tensor | None = None) -> Predict:
        return seen_from(away, spec.predictor(net, None if beside is None else shown(beside, away)))

    return replace(spec, predictor=predictor)


def seen_from(away: Away, predict: Predict, until: float = 0.0) -> Predict:
    """The same estimates by a view moved so far, at levels from `until` on; below, by the view as it is."""

    def moved(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
        if until and float(sigma.max()) < until:
            return predict(x, sigma, conds)
        return [each.roll(away, (-2, -1)) for each in predict(shown(x, away), sigma, conds)]

    return moved


def shown(x: Tensor, away: Away) -> Tensor:
    """Latents (B, C, h, w) as they are seen from so far away."""
    down, right = away
    return x[..., mirrored(x.shape[-2], down), :][..., mirrored(x.shape[-1], right)]


def in_sight(like: Tensor, away: Away) -> Tensor:
    """True for the places of (1, 1, h, w) that are seen from so far away."""
    import torch

    seen = torch.zeros_like(like, dtype=torch.bool)
    down, right = away
    height, width = like.shape[-2:]
    seen[..., max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = True
    return seen
