"""Classifier-free guidance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pipelines.guidance import Guidance, guidances
from pipelines.knobs import Scale, knob

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict

Rescale = Annotated[
    float, *knob("Rescale", "Takes back the over-exposure of strong guidance: 0 none, 1 all.", ge=0, le=1, step=0.05)
]


class Push(Guidance):
    """From the negative prompt's estimate through the prompt's and beyond; at scale 1 the prompt's alone."""

    off = {"scale": 1.0}

    scale: Scale = 5.0

    @property
    def evaluations(self) -> int:
        return 1 if self.scale == 1 else 2

    def __call__(self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
        if self.scale == 1:
            return predict(x, sigma, [cond])[0]
        negative, positive = predict(x, sigma, [uncond, cond])
        return negative.lerp(positive, self.scale)


@guidances.register("cfg")
class ClassifierFree(Push):
    """Pushes away from the picture of the negative prompt. Ho & Salimans 2022 (arXiv:2207.12598).

    The rescale is Lin et al. 2024, Equations 15 and 16 (arXiv:2305.08891), on x0.
    """

    off = {"scale": 1.0, "rescale": 0.0}

    rescale: Rescale = 0.0

    def __call__(self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
        if self.scale == 1 or self.rescale == 0:
            return super().__call__(predict, x, sigma, cond, uncond)
        negative, positive = predict(x, sigma, [uncond, cond])
        guided = negative.lerp(positive, self.scale)
        own = [1, 2, 3]  # one deviation per picture, over channels and place
        matched = guided * (positive.std(own, keepdim=True) / guided.std(own, keepdim=True))
        return guided.lerp(matched, self.rescale)


def norm(latents: Tensor) -> Tensor:
    """The norm of each picture's latents, (B, 1, 1, 1)."""
    return latents.square().sum([1, 2, 3], keepdim=True).sqrt()
