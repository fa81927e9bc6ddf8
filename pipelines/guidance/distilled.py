"""The guidance that some networks were distilled with, told to them as a number."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipelines.guidance import Guidance, guidances
from pipelines.knobs import Scale

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict


@guidances.register("distilled")
class Distilled(Guidance):
    """For networks that read the scale themselves, as FLUX.1 dev does: one call a step, no negative prompt.

    Others give the plain estimate. Meng et al. 2023 (arXiv:2210.03142).
    """

    off = {"scale": 1.0}

    scale: Scale = 3.5

    def __call__(self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
        told = replace(cond, extras={**cond.extras, "guidance": sigma.new_tensor(self.scale)})
        return predict(x, sigma, [told])[0]
