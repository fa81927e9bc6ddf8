"""Guidance makes one x0 of several: it turns `predict` into `denoise`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ClassVar

from pipelines.method import Method
from pipelines.registry import Registry, discover

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Guide, Predict, Run

__all__ = ["Guidance", "guidances"]


class Guidance(Method):
    """(predict, x, sigma, cond, uncond) -> x0, like x (B, C, H, W).

    What remembers earlier steps, looks at the walk's levels or patches the network does so in `apply`.
    """

    off: ClassVar[dict[str, object] | None]  # the knobs at which it is the conditional estimate; None: there are none
    composes: ClassVar[bool] = False  # whether it wants the parts of a prompt that AND and NOT join

    @property
    def evaluations(self) -> int:
        """Conditions that the network sees per call."""
        return 1

    @property
    def held(self) -> float:
        """How many times the maps of one pass of the network are held at once; more where gradients are taken."""
        return 1.0

    def asked(self, prompt: str) -> float:
        """Conditions that the network sees per call for a prompt, as a mean over the walk."""
        return self.evaluations

    def apply(self, run: Run) -> AbstractContextManager[Guide]:
        """`with guidance.apply(run) as guide`: the same as a function for one walk; the network is left as it was."""
        return nullcontext(self)

    def __call__(self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
        raise TypeError(f"{type(self).__name__} does not say how it guides")


guidances: Registry[type[Guidance]] = Registry("guidance")
discover(__name__, list(__path__))
