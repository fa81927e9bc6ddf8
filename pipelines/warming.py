"""Gets a model ready before anybody waits for it, and measures it on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipelines.models import models
from pipelines.tasks import run
from pipelines.tasks.text_to_image import TextToImage

SMALLEST = 64  # pixels; the least that a request may ask for

if TYPE_CHECKING:
    from pipelines.memory import Memory


def warm(model: str) -> Callable[[Memory], None]:
    """A chore that loads `model` and paints two steps at its own size, so that estimates stand before the first job."""

    def paint(memory: Memory) -> None:
        side = max(models[model].side, SMALLEST)
        for _ in run(TextToImage(model=model, steps=2, width=side, height=side), memory):
            pass

    return paint
