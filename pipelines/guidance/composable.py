"""Prompts joined by AND and NOT, each with its own push."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.guidance import guidances
from pipelines.guidance.cfg import Push
from pipelines.prompts import clauses

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict


@guidances.register("composable")
class Composable(Push):
    """Paints `a cat AND a red hat :0.8 NOT fog` as prompts of their own, added and taken away.

    Liu et al. 2022, Equations 11 and 13 (arXiv:2206.01714): x0_u + scale sum_i w_i (x0_i - x0_u). A weight of 0 is not
    asked for. With the sampler `annealed_mcmc` it draws from the product, which the sum alone does not.
    """

    title = "Composable (AND, NOT)"
    composes = True

    def asked(self, prompt: str) -> float:
        weights = [each.weight for each in clauses(prompt) if each.weight]
        return 1 if weights == [1.0] and self.scale == 1 else 1 + len(weights)

    def __call__(self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
        parts = [(weight, part) for weight, part in cond.parts or ((1.0, cond),) if weight]
        if self.scale == 1 and [weight for weight, _ in parts] == [1.0]:
            return predict(x, sigma, [parts[0][1]])[0]
        negative, *estimates = predict(x, sigma, [uncond, *(part for _, part in parts)])
        guided = negative
        for (weight, _), estimate in zip(parts, estimates, strict=True):
            guided = guided + self.scale * weight * (estimate - negative)
        return guided
