"""Verifiers say what a picture is worth, so that a search may look for a better one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pipelines.errors import BadRequest
from pipelines.method import Method
from pipelines.registry import Registry, discover

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from pipelines.memory import Memory
    from pipelines.models import ModelSpec
    from pipelines.shelf import Shelf
    from pipelines.types import Cond, Predict

__all__ = ["Case", "Verifier", "verifiers"]


@dataclass(frozen=True, eq=False)
class Case:
    """What a verifier may know beside the pictures that it judges. `lent` is the network; its every use is counted."""

    prompt: str
    cond: Cond
    uncond: Cond
    spec: ModelSpec
    memory: Memory
    shelf: Shelf
    lent: Callable[[], AbstractContextManager[Predict]]

    def reference(self, name: str) -> Image:
        """The picture that a knob names, RGB. Raises BadRequest where none was chosen."""
        if not name:
            raise BadRequest("Picture: choose the one that results should be like.")
        return self.shelf.open(name).convert("RGB")


class Verifier(Method):
    """(seen, case) -> a score for each picture, (B,), the higher the better.

    Seen are pixels (B, 3, H, W) in [-1, 1], or the x0 latents (B, C, h, w) where `sees_latents`.
    """

    sees_latents: ClassVar[bool] = False

    @property
    def evaluations(self) -> int:
        """How many estimates of x0 it asks of the network for one picture."""
        return 0

    def __call__(self, seen: Tensor, case: Case) -> Tensor:
        raise TypeError(f"{type(self).__name__} does not say how it judges")


verifiers: Registry[type[Verifier]] = Registry("verifier")
discover(__name__, list(__path__))
