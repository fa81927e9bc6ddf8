"""Gets a model ready before anybody waits for it, and measures it on the way."""

from __future__ import annotations

import gc
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from pipelines.models import models
from pipelines.tasks import run
from pipelines.tasks.text_to_image import TextToImage

SMALLEST = 64  # pixels; the least that a request may ask for

if TYPE_CHECKING:
    from pipelines.memory import Memory


LIBRARIES = (
    "diffusers.models.unets.unet_2d_condition",
    "diffusers.models.autoencoders.autoencoder_kl",
    "transformers.models.clip.modeling_clip",
    "transformers.models.clip.tokenization_clip",
    "accelerate.utils.memory",
)


def settle() -> None:
    """Import what loading a model will need, and take it out of the garbage collector's rounds.

    Half a million objects of the libraries make a round 0.27 s long; without them it is under 0.01 s, and every job
    ends with one. Called before any model is loaded: what is frozen is never collected.
    """
    for library in LIBRARIES:
        import_module(library)
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


def warm(model: str) -> Callable[[Memory], None]:
    """A chore that loads `model` and paints two steps at its own size, so that estimates stand before the first job.

    It paints them twice: the first time libraries choose their kernels, which says nothing about the next picture.
    """

    def paint(memory: Memory) -> None:
        side = max(models[model].side, SMALLEST)
        for _ in range(2):
            for _ in run(TextToImage(model=model, steps=2, width=side, height=side), memory):
                pass

    return paint
