"""Prompts joined by AND, each for a stretch of the picture of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.guidance import guidances
from pipelines.guidance.composable import Composable
from pipelines.knobs import knob
from pipelines.prompts import clauses

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict

Along = Annotated[
    Literal["across", "down"],
    *knob("Along", "Which way the parts of the prompt follow one another: from left to right, or from top to bottom."),
]
FADE = 0.1  # of the edge; how wide two stretches fade into each other


@guidances.register("regions")
class Regions(Composable):
    """Paints `a cat on the left AND a dog on the right` side by side: each part of the prompt leads its own stretch.

    Bar-Tal et al. 2023, "MultiDiffusion", Section 4.2 (arXiv:2302.08113): the mean of what each prompt estimates, by
    masks. Stretches are equal and in order; what NOT joins leads nowhere. From left to right each part is asked with
    its stretch in the middle of what the network sees, where things are used to be. Several taught words keep apart so.
    """

    title = "Side by side (AND)"

    along: Along = "across"

    def asked(self, prompt: str) -> float:
        leading = [each for each in clauses(prompt) if each.weight > 0]
        return super().asked(prompt) if len(leading) < 2 else 1 + len(leading)

    def __call__(self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
        import torch

        parts = [part for weight, part in cond.parts or ((1.0, cond),) if weight > 0]
        if len(parts) < 2:
            return super().__call__(predict, x, sigma, cond, uncond)
        (negative,), dim = predict(x, sigma, [uncond]), -1 if self.along == "across" else -2
        masks, lead = stretches(x.shape[dim], len(parts)).to(x), torch.zeros_like(x)
        for k, (mask, part) in enumerate(zip(masks, parts, strict=True)):
            away = round(((k + 0.5) / len(parts) - 0.5) * x.shape[-1]) if dim == -1 else 0
            (estimate,) = predict(x[..., mirrored(x.shape[-1], away)], sigma, [part])
            lead += (mask if dim == -1 else mask[:, None]) * estimate.roll(away, -1)
        return negative + self.scale * (lead - negative)


def mirrored(length: int, away: int) -> list[int]:
    """The places of an edge seen from `away` places further on; beyond its ends lies what is before them, mirrored."""
    return [min(at, 2 * length - 1 - at) if at >= 0 else -1 - at for at in range(away, away + length)]


def stretches(length: int, count: int) -> Tensor:
    """How much each of `count` equal stretches leads at each place of an edge, (count, length), 1 in sum."""
    import torch

    at = (torch.arange(length) + 0.5) / length
    centres = (torch.arange(count) + 0.5) / count
    reach = 0.5 / count
    near = ((reach + FADE / 2 - (at - centres[:, None]).abs()) / FADE).clamp(1e-6, 1)
    return near / near.sum(0)
