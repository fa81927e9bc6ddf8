"""Samplers walk x from noise to picture. They see x0 estimates only, never what a network predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pipelines.method import Method
from pipelines.registry import Registry, discover
from pipelines.types import Path, Step

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling

__all__ = ["Path", "Sampler", "Step", "samplers"]


class Sampler(Method):
    """(denoise, x, sigmas, path) -> a generator of steps that returns the last x.

    x is (B, C, H, W); sigmas (n + 1,) falls and ends in 0. `order` is the order of convergence on the ODE, 0 where
    the walk is stochastic by default; `calls` is how often a step asks the network; `jumps` where it wants a network
    that answers with the end of the ODE, as distilled ones do, in place of the mean of all x0.
    """

    order: ClassVar[int]
    calls: ClassVar[int] = 1
    jumps: ClassVar[bool] = False

    def evaluations(self, steps: int) -> int:
        """How many estimates a walk of so many steps asks for; the step to 0 needs one."""
        return steps * self.calls - (self.calls - 1)

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        raise TypeError(f"{type(self).__name__} does not say how it samples")


samplers: Registry[type[Sampler]] = Registry("sampler")
discover(__name__, list(__path__))
