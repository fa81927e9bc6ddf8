"""Gets a model ready before anybody waits for it, and measures it on the way."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from pipelines.errors import StudioError
from pipelines.models import models
from pipelines.needs import work_of
from pipelines.tasks import run
from pipelines.tasks.text_to_image import TextToImage

logger = logging.getLogger(__name__)
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


def prefetch(model: str, wanted: Callable[[], bool] = lambda: True) -> Callable[[Memory], None]:
    """A chore that brings a model that was picked to the device, so that nobody waits for it: the painter first, then
    what fits beside it. `wanted` says whether it is still the one."""

    def fetch(memory: Memory) -> None:
        if not wanted() or model not in models:
            return
        spec = models[model]
        request = TextToImage(model=model, width=SMALLEST, height=SMALLEST)
        try:
            with memory.working(work_of(request, memory, None)):
                for part in dict.fromkeys((spec.net, *spec.parts())):
                    memory.check()
                    if part is spec.net or memory.used() + memory.weight(part) <= memory.budget:
                        with memory.use(part):
                            pass
        except StudioError as error:
            logger.info("%s was not fetched ahead: %s", model, error)

    return fetch
