"""Accelerators wrap `predict` for the length of a block, and leave the network as they found it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from pipelines.method import Method
from pipelines.registry import Registry, discover

if TYPE_CHECKING:
    from pipelines.types import Predict, Run

__all__ = ["Accelerator", "accelerators"]


class Accelerator(Method):
    """`with accelerator.apply(predict, run) as predict` is a faster predict, for as long as the block lasts."""

    off: ClassVar[dict[str, Any]]  # the knobs at which the picture is the same to the byte

    def apply(self, predict: Predict, run: Run) -> AbstractContextManager[Predict]:
        raise TypeError(f"{type(self).__name__} does not say what it speeds up")


accelerators: Registry[type[Accelerator]] = Registry("accelerator")
discover(__name__, list(__path__))
