"""A sentence becomes pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pipelines.accelerators import accelerators
from pipelines.adapters import chosen, plain, worn
from pipelines.errors import BadRequest
from pipelines.events import Finished, Painted, Remark, Result, Stage
from pipelines.knobs import Count, Height, Width
from pipelines.method import Choice
from pipelines.painting import Sampled, conditions, paint_one
from pipelines.searches import searches
from pipelines.searching import Judges, SearchChoice, searched
from pipelines.tasks import Running, task

if TYPE_CHECKING:
    from pipelines.memory import Memory
    from pipelines.models import ModelSpec
    from pipelines.shelf import Shelf


class TextToImage(Sampled):
    """Paints pictures of a sentence."""

    task: Literal["text_to_image"] = "text_to_image"
    width: Width = 256
    height: Height = 256
    count: Count = 1
    search: SearchChoice = Choice(name="none")
    verifiers: Judges = (Choice(name="classifier"),)

    @property
    def searches(self) -> bool:
        """Whether it looks for a better picture than the first that comes."""
        return not searches[self.search.name].off

    def evaluations(self) -> int:
        """How many estimates of x0 one picture asks of the network; a search spends its budget."""
        return int(self.search.knobs["budget"]) if self.searches else super().evaluations()


@task(TextToImage)
def text_to_image(request: TextToImage, memory: Memory, shelf: Shelf) -> Running:
    """Paints picture by picture, so that each is the same alone and in a batch, and what is ready stays."""
    from pipelines.pictures import to_pictures

    spec = chosen(request)
    if spec.whole:
        return (yield from in_its_own_pipeline(request, spec, memory))
    cond, uncond = yield from conditions(request, spec, memory)
    decode = spec.decode
    for choice in request.accelerators:
        decode = choice.build(accelerators).decoding(decode)
    done: list[Painted[TextToImage]] = []
    remarks: list[str] = []
    for k, single in enumerate(request.singles()):
        place = {"picture": k + 1, "pictures": request.count}
        if request.searches:
            found = yield from searched(single, spec, memory, shelf, cond, uncond, **place)
            latents, single = found.latents, plainly(single, found.seed)
            remarks.append(found.remark)
        else:
            latents = yield from paint_one(single, spec, memory, cond, uncond, shelf=shelf, **place)
        yield Stage("Decoding")
        with memory.use(spec.vae) as vae, memory.timed("decode", spec.name, request.width, request.height):
            picture = to_pictures(decode(vae, latents)[..., : request.height, : request.width])[0]
        done.append(Painted(picture, single))
        yield Finished(done[-1])
    return Result(tuple(done), tuple(remarks))


def plainly(request: TextToImage, seed: int | None) -> TextToImage:
    """The request that paints a picture that was found: the plain one of `seed`, where it is that seed's picture."""
    if seed is None:
        return request
    return request.model_copy(update={"seed": seed, "search": Choice(name="none")})


def in_its_own_pipeline(request: TextToImage, spec: ModelSpec, memory: Memory) -> Running:
    """Paints with a checkpoint whose family has no predictor here: one call a picture, and no choice of methods."""
    from pipelines.pictures import to_pictures

    if request.searches:
        raise BadRequest(f"{spec.title} runs in its own pipeline, in which nothing can be searched for.")
    if worn(request, spec):
        raise BadRequest(f"{spec.title} runs in its own pipeline, which wears no adapters here.")
    remark = f"{spec.title} runs in its own pipeline: sampler, schedule, guidance and accelerators are its own."
    yield Remark(remark)
    done: list[Painted[TextToImage]] = []
    for single in request.singles():
        yield Stage("Painting" if memory.holds(spec.net) else f"Loading {spec.title}")
        place = (spec.name, request.width, request.height)
        with memory.use(spec.net) as paint, memory.timed("net", *place, request.evaluations()):
            words = plain(request.prompt), plain(request.negative_prompt)
            pixels = paint(*words, request.width, request.height, request.steps, single.seed)
        with memory.timed("decode", *place):  # within the pipeline
            picture = to_pictures(pixels)[0]
        done.append(Painted(picture, single))
        yield Finished(done[-1])
    return Result(tuple(done), (remark,))
