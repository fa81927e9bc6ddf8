"""A sentence becomes pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.accelerators import accelerators
from pipelines.adapters import chosen, worn
from pipelines.errors import BadRequest
from pipelines.events import Finished, Painted, Remark, Result, Stage
from pipelines.knobs import Count, Height, Width, knob
from pipelines.method import Choice, OneOf
from pipelines.painting import Sampled, conditions, paint_one
from pipelines.searches import searches
from pipelines.searching import Judges, SearchChoice, searched
from pipelines.tasks import Running, task
from pipelines.upscalers import Enlarging, numbered, upscalers

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.memory import Memory
    from pipelines.models import ModelSpec
    from pipelines.shelf import Shelf


Larger = Annotated[
    float,
    *knob(
        "Larger",
        "Makes the finished picture so many times as large in a second pass: detail without doubled things. 1 is off.",
        ge=1,
        le=4,
        step=0.25,
    ),
]
LargerBy = Annotated[Choice, OneOf(upscalers), *knob("Larger by", "What the second pass adds its detail by.")]


class TextToImage(Sampled):
    """Paints pictures of a sentence."""

    task: Literal["text_to_image"] = "text_to_image"
    width: Width = 256
    height: Height = 256
    count: Count = 1
    larger: Larger = 1.0
    larger_by: LargerBy = Choice(name="latent_tiles")
    search: SearchChoice = Choice(name="none")
    verifiers: Judges = (Choice(name="classifier"),)

    @property
    def searches(self) -> bool:
        """Whether it looks for a better picture than the first that comes."""
        return not searches[self.search.name].off

    def evaluations(self) -> int:
        """How many estimates of x0 one picture asks of the network; a search spends its budget."""
        return int(self.search.knobs["budget"]) if self.searches else super().evaluations()

    def areas(self, shelf: Shelf | None) -> float:
        """How often as much as one pass is painted: a second pass takes a share of the steps, on a larger picture."""
        if self.larger == 1 or not upscalers[self.larger_by.name].paints:
            return 1.0
        return 1 + self.larger**2 * float(self.larger_by.knobs.get("creativity", 1))


@task(TextToImage)
def text_to_image(request: TextToImage, memory: Memory, shelf: Shelf) -> Running:
    """Paints picture by picture, so that each is the same alone and in a batch, and what is ready stays."""
    from pipelines.pictures import to_pictures

    spec = chosen(request)
    if spec.whole:
        return (yield from in_its_own_pipeline(request, spec, memory))
    if request.larger > 1:
        refuse_second_pass(request)
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
        if request.larger > 1:
            picture = yield from once_more(picture, single, memory, k + 1, request.count)
        done.append(Painted(picture, single))
        yield Finished(done[-1])
    return Result(tuple(done), tuple(remarks))


def refuse_second_pass(request: TextToImage) -> None:
    """Raises BadRequest where the second pass cannot be: before the first is painted for nothing."""
    from pipelines.pictures import LARGEST

    request.larger_by.build(upscalers).check(request)
    width, height = (round(request.larger * edge) for edge in (request.width, request.height))
    if width * height > LARGEST:
        raise BadRequest(
            f"Larger: the result would have {width} x {height} pixels; the studio makes pictures of up to "
            f"{LARGEST // 10**6} megapixels."
        )


def once_more(picture: Image, single: TextToImage, memory: Memory, number: int, count: int) -> Enlarging:
    """The second pass: the picture so many times as large, with progress as that of one picture among several."""
    size = (round(single.larger * single.width), round(single.larger * single.height))
    return (yield from numbered(single.larger_by.build(upscalers)(picture, size, single, memory), number, count))


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
    if request.larger > 1:
        raise BadRequest(f"Larger: {spec.title} runs in its own pipeline; enlarge its pictures in the tab Upscale.")
    remark = f"{spec.title} runs in its own pipeline: sampler, schedule, guidance and accelerators are its own."
    yield Remark(remark)
    done: list[Painted[TextToImage]] = []
    for single in request.singles():
        yield Stage("Painting" if memory.holds(spec.net) else f"Loading {spec.title}")
        place = (spec.name, request.width, request.height)
        with memory.use(spec.net) as paint, memory.timed("net", *place, request.evaluations()):
            words = request.said()
            pixels = paint(*words, request.width, request.height, request.steps, single.seed)
        with memory.timed("decode", *place):  # within the pipeline
            picture = to_pictures(pixels)[0]
        done.append(Painted(picture, single))
        yield Finished(done[-1])
    return Result(tuple(done), (remark,))
