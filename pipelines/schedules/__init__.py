"""Schedules choose the noise levels that a sampler visits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pipelines.method import Method
from pipelines.registry import Registry, discover

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Levels", "Schedule", "schedules"]


class Levels(Protocol):
    """What a schedule may know of a model: the ends of its noise levels and the grid it came with."""

    def ends(self) -> tuple[float, float]:
        """The lowest and the highest sigma the network was trained at."""

    def own(self, steps: int) -> Tensor:
        """The grid that the checkpoint names, (steps + 1,), falling, ends in 0."""


class Schedule(Method):
    """(levels, steps) -> sigmas (steps + 1,), float32, falling, ends in 0."""

    def __call__(self, levels: Levels, steps: int) -> Tensor:
        raise TypeError(f"{type(self).__name__} does not say which levels it visits")


schedules: Registry[type[Schedule]] = Registry("schedule")
discover(__name__, list(__path__))
