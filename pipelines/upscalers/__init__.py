"""Upscalers enlarge a picture to a size, tile by tile: what is beside the pictures does not grow with them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from pipelines.events import Progress
from pipelines.method import Method
from pipelines.registry import Registry, discover

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.events import Event
    from pipelines.memory import Memory
    from pipelines.painting import Sampled

__all__ = ["Enlarging", "Upscaler", "numbered", "shipped", "upscalers"]

U = TypeVar("U", bound="type[Upscaler]")
WEIGHTS = Path(__file__).parents[2] / "assets" / "upscale"
Enlarging = Generator["Event", None, "Image"]


class Upscaler(Method):
    """(picture, size, request, memory) -> a generator of events that returns the picture at `size`.

    The picture is RGB, no side of it longer than that of `size`. One that `paints` walks with the request's model,
    prompt and sampler; the others look at the picture alone.
    """

    paints: ClassVar[bool] = False

    def __call__(self, picture: Image, size: tuple[int, int], request: Sampled, memory: Memory) -> Enlarging:
        raise TypeError(f"{type(self).__name__} does not say how it enlarges")

    def check(self, request: Sampled) -> None:
        """Raises BadRequest where the request's model is none that it can work with, as far as that is known before."""

    def beside(self, memory: Memory) -> int:
        """Bytes that it holds beside the pictures, of one that does not paint: its weights and the maps of a tile."""
        return 0


def numbered(running: Enlarging, number: int, count: int) -> Enlarging:
    """The same events, with progress as that of one picture among several."""
    with closing(running):
        while True:
            try:
                event = next(running)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            yield replace(event, picture=number, pictures=count) if isinstance(event, Progress) else event


upscalers: Registry[type[Upscaler]] = Registry("upscaler")


def shipped(name: str, file: str) -> Callable[[U], U]:
    """As `upscalers.register`, where its weights are in assets/upscale: what has none is no choice."""

    def keep(kind: U) -> U:
        if (WEIGHTS / file).exists():
            upscalers.add(name, kind)
        return kind

    return keep


discover(__name__, list(__path__))
