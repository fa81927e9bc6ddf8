"""A sentence becomes pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pipelines.events import Finished, Painted, Result, Stage
from pipelines.knobs import Count, Height, Width
from pipelines.models import find
from pipelines.painting import Sampled, conditions, paint_one
from pipelines.tasks import Running, task

if TYPE_CHECKING:
    from pipelines.memory import Memory


class TextToImage(Sampled):
    """Paints pictures of a sentence."""

    task: Literal["text_to_image"] = "text_to_image"
    width: Width = 256
    height: Height = 256
    count: Count = 1


@task(TextToImage)
def text_to_image(request: TextToImage, memory: Memory) -> Running:
    """Paints picture by picture, so that each is the same alone and in a batch, and what is ready stays."""
    from pipelines.pictures import to_pictures

    spec = find(request.model)
    cond, uncond = yield from conditions(request, spec, memory)
    done: list[Painted[TextToImage]] = []
    for k, single in enumerate(request.singles()):
        latents = yield from paint_one(single, spec, memory, cond, uncond, picture=k + 1, pictures=request.count)
        yield Stage("Decoding")
        with memory.use(spec.vae) as vae, memory.timed("decode", spec.name, request.width, request.height):
            picture = to_pictures(spec.decode(vae, latents))[0]
        done.append(Painted(picture, single))
        yield Finished(done[-1])
    return Result(tuple(done))
