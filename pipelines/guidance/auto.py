"""Autoguidance: away from what a weaker model would paint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from pipelines.errors import StudioError
from pipelines.guidance import guidances
from pipelines.guidance.cfg import Push
from pipelines.knobs import Scale, knob
from pipelines.types import tallied

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.models import ModelSpec
    from pipelines.types import Cond, Guide, Predict, Run

Weaker = Annotated[
    str,
    *knob("Weaker model", "The name of a smaller or less trained model of the same kind.", "text", max_length=200),
]


@guidances.register("auto")
class Auto(Push):
    """Turns away from the mistakes that a weaker model makes more of, and keeps variety.

    Karras et al. 2024, Equation 3 (arXiv:2406.02507): x0_weak + scale (x0 - x0_weak), both under the prompt.
    """

    title = "Autoguidance"

    scale: Scale = 2.0
    weaker: Weaker = ""

    def __call__(self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
        if self.scale == 1:
            return predict(x, sigma, [cond])[0]
        raise StudioError("Autoguidance borrows a second network; it runs within `apply` only.")

    @contextmanager
    def apply(self, run: Run) -> Iterator[Guide]:
        if self.scale == 1:
            yield self
            return
        weaker = second(self.weaker, run.spec, "Autoguidance")
        with run.memory.use(weaker.net) as net:
            weak = tallied(weaker.predictor(net), run.memory)

            def guide(predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, _: Cond) -> Tensor:
                return weak(x, sigma, [cond])[0].lerp(predict(x, sigma, [cond])[0], self.scale)

            yield guide


def second(name: str, first: ModelSpec | None, method: str) -> ModelSpec:
    """Another model that reads the same words and paints the same latents. Raises StudioError, UnknownName."""
    from pipelines.models import find

    if not name:
        raise StudioError(f"{method} needs the name of a second model.")
    spec = find(name)
    if first is None or [part.key for part in spec.texts] != [part.key for part in first.texts]:
        raise StudioError(f"{spec.title} reads words by other encoders, so that {method.lower()} cannot pair the two.")
    if (spec.channels, spec.factor, spec.alpha) != (first.channels, first.factor, first.alpha):
        raise StudioError(f"{spec.title} paints other latents, so that {method.lower()} cannot pair the two.")
    return spec
