"""Accelerators wrap `predict` for the length of a block, and leave the network as they found it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from pipelines.method import Method
from pipelines.registry import Registry, discover

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Guide, Predict, Run

__all__ = ["Accelerator", "accelerators"]


class Accelerator(Method):
    """`with accelerator.apply(predict, run) as predict` is a faster predict, for as long as the block lasts.

    `around(guide, run)` is the same for the guided estimate, where whole steps are left out. Each wraps one or both.
    """

    off: ClassVar[dict[str, Any]]  # the knobs at which the picture is the same to the byte

    def apply(self, predict: Predict, run: Run) -> AbstractContextManager[Predict]:
        return nullcontext(predict)

    def around(self, guide: Guide, run: Run) -> AbstractContextManager[Guide]:
        """`with accelerator.around(guide, run) as guide`, outside of guidance."""
        return nullcontext(guide)

    def decoding(self, decode: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
        """The function (vae, latents) -> pixels that goes with the pictures that it makes."""
        return decode


accelerators: Registry[type[Accelerator]] = Registry("accelerator")
discover(__name__, list(__path__))
