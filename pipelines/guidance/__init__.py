"""Guidance makes one x0 of several: it turns `predict` into `denoise`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pipelines.method import Method
from pipelines.registry import Registry, discover

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict

__all__ = ["Guidance", "guidances"]


class Guidance(Method):
    """(predict, x, sigma, cond, uncond) -> x0, like x (B, C, H, W)."""

    off: ClassVar[dict[str, object]]  # the knobs at which it is the conditional estimate

    @property
    def evaluations(self) -> int:
        """Conditions that the network sees per call."""
        return 1

    def __call__(self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
        raise TypeError(f"{type(self).__name__} does not say how it guides")


guidances: Registry[type[Guidance]] = Registry("guidance")
discover(__name__, list(__path__))
