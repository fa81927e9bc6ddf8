"""The knobs that all sampled tasks share, and the loop: the one place where predict, guidance and sampler meet."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Self

from pipelines.accelerators import accelerators
from pipelines.adapters import (
    Adapters,
    VaeName,
    chosen,
    marks,
    melting,
    painting_with,
    places,
    plain,
    reading_with,
    worn,
)
from pipelines.errors import BadRequest, StudioError
from pipelines.estimate import Expectation
from pipelines.events import Event, Progress, Remark, Stage
from pipelines.guidance import guidances
from pipelines.knobs import ModelName, NegativePrompt, Prompt, Steps, knob
from pipelines.method import Choice, OneOf
from pipelines.models import ModelSpec
from pipelines.models.unet import all_masked as all_masked
from pipelines.prompts import clauses
from pipelines.request import SEEDS, Request
from pipelines.samplers import Path, samplers
from pipelines.schedules import schedules
from pipelines.styles import Styles, dressed
from pipelines.types import Run, tallied
from pipelines.vocabulary import warning

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.memory import Memory
    from pipelines.parts import Part
    from pipelines.previews import Look
    from pipelines.shelf import Shelf
    from pipelines.types import Cond, Constrain, Guide, Predict, Sampling

DECODE_MAPS = 1.5  # feature maps of the picture's size and the middle level's width: 1.61 GB at 1024 px, 512 channels
UNCHANGED: Mapping[str, float] = {}
PREVIEW_SECONDS = 0.15  # between two previews at the least; more than the eye follows costs time

SamplerChoice = Annotated[Choice, OneOf(samplers), *knob("Sampler", "The walk from noise to picture.")]
ScheduleChoice = Annotated[Choice, OneOf(schedules), *knob("Schedule", "Which noise levels the walk visits.")]
GuidanceChoice = Annotated[Choice, OneOf(guidances), *knob("Guidance", "How the prompt steers the walk.")]
Accelerators = Annotated[
    tuple[Annotated[Choice, OneOf(accelerators)], ...], *knob("Accelerators", "What makes the walk cheaper.")
]


class Sampled(Request):
    """What every task that walks from noise to picture asks for."""

    model: ModelName = "pocket"
    prompt: Prompt = ""
    negative_prompt: NegativePrompt = ""
    styles: Styles = ()
    steps: Steps = 25
    sampler: SamplerChoice = Choice(name="dpmpp_2m")
    schedule: ScheduleChoice = Choice(name="karras")
    guidance: GuidanceChoice = Choice(name="cfg")
    accelerators: Accelerators = ()
    adapters: Adapters = ()
    vae: VaeName = ""

    def said(self) -> tuple[str, str]:
        """Prompt and negative prompt with the styles, without mentions of adapters. Raises UnknownName."""
        prompt, negative = dressed(self.prompt, self.negative_prompt, self.styles)
        return plain(prompt), plain(negative)

    def singles(self) -> list[Self]:
        """One request a picture: seeds counted up from this one's, so that each can be painted alone."""
        if self.seed is None:
            raise ValueError("a request runs only after its seed was drawn")
        count: int = getattr(self, "count", 1)
        return [self.model_copy(update={"seed": (self.seed + k) % SEEDS, "count": 1}) for k in range(count)]

    def extent(self, shelf: Shelf | None) -> tuple[int, int]:
        """Width and height in pixels of what the model paints. Raises BadRequest."""
        return int(getattr(self, "width", 1)), int(getattr(self, "height", 1))

    def areas(self, shelf: Shelf | None) -> float:
        """How often as much as `extent` is painted for one picture. Raises BadRequest."""
        return 1.0

    def evaluations(self) -> int:
        """How many estimates of x0 one picture asks of the network."""
        walk = self.sampler.build(samplers).evaluations(self.steps)
        return int(walk * self.guidance.build(guidances).asked(self.prompt))

    def expectation(self, memory: Memory, shelf: Shelf | None) -> Expectation | None:
        """What it will cost here, of a task that knows it otherwise than by its steps. Raises StudioError."""
        return None

    def held(self) -> float:
        """How many times the maps of one pass of the network are held at once."""
        return float(self.guidance.build(guidances).held)


def expected(request: Sampled, memory: Memory, shelf: Shelf | None = None) -> Expectation:
    """What a request will cost here: seconds as this machine took them before, bytes by weights and decoder size."""
    if own := request.expectation(memory, shelf):
        return own
    spec = chosen(request)
    (width, height), count = request.extent(shelf), int(getattr(request, "count", 1))
    step, decode = (memory.expected(work, spec.name, width, height) for work in ("net", "decode"))
    needed = bytes_of(spec, memory, width, height)
    if step is None or decode is None:
        return Expectation(None, needed, "not measured on this machine yet")
    return Expectation(
        count * request.areas(shelf) * (request.evaluations() * step + decode),
        needed,
        "" if memory.holds(spec.net) else "and the time to load it",
    )


def bytes_of(spec: ModelSpec, memory: Memory, width: int, height: int) -> int:
    """Bytes of a model's weights, and of the decoder's maps for one picture of that size."""
    kind = memory.number_type(spec.vae).itemsize
    maps = int(width * height * spec.vae.width * kind * DECODE_MAPS)
    return sum(memory.weight(part) for part in spec.parts()) + maps


def conditions(request: Sampled, spec: ModelSpec, memory: Memory) -> Generator[Event, None, tuple[Cond, Cond]]:
    """The prompt and the negative prompt, encoded; nothing is loaded for prompts that were encoded before."""
    if spec.whole:
        raise BadRequest(f"{spec.title} runs in its own pipeline, which paints from words only; choose another model.")
    weights, (prompt, negative) = worn(request, spec), request.said()
    held = all(memory.holds(part) for part in spec.texts)
    yield Stage("Reading the prompt" if held else f"Loading {spec.title}")
    composes = guidances[request.guidance.name].composes
    yield from map(Remark, filter(None, (melting(request.prompt, composes), warning(request, spec))))
    return (
        (composed if composes else encoded)(spec, memory, prompt, weights=weights),
        encoded(spec, memory, negative, negative=True, weights=weights),
    )


def composed(spec: ModelSpec, memory: Memory, prompt: str, weights: Mapping[str, float] = UNCHANGED) -> Cond:
    """A prompt whose parts, joined by AND and NOT, are read one by one; as a whole it stands for its first part."""
    parts = [(each.weight, encoded(spec, memory, each.text, weights=weights)) for each in clauses(prompt)]
    return replace(parts[0][1], parts=tuple(parts))


def encoded(
    spec: ModelSpec, memory: Memory, prompt: str, negative: bool = False, weights: Mapping[str, float] = UNCHANGED
) -> Cond:
    """A prompt as the network reads it; encoders are lent one at a time, and not for what they read before.

    `weights` are of the adapters that the encoders wear meanwhile, by name.
    """

    def read(place: str, part: Part, words: tuple[Any, ...]) -> Cond:
        def encode() -> Cond:
            with memory.use(part) as text, reading_with(text, place, weights, prompt, spec, memory):
                cond: Cond = text(*words)
            return cond

        return memory.recall((part.key, *words, marks(place, weights, prompt, spec)), encode)

    each = zip(places(spec), spec.texts, spec.asked(prompt, negative), strict=True)
    return spec.joined([read(place, part, words) for place, part, words in each], prompt, negative)


def noise_of(seed: int) -> Callable[[Tensor], Tensor]:
    """A source of noise for one picture, drawn on the CPU so that it is the same on every device."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator, dtype=torch.float32).to(like.device)


def paint_one(
    request: Sampled,
    spec: ModelSpec,
    memory: Memory,
    cond: Cond,
    uncond: Cond,
    picture: int = 1,
    pictures: int = 1,
    shelf: Shelf | None = None,
) -> Generator[Event, None, Tensor]:
    """Latents (1, C, h, w) of one picture from pure noise, with progress."""
    import torch

    if not memory.holds(spec.net):
        yield Stage(f"Loading {spec.title}")
    width, height = (getattr(request, side) for side in ("width", "height"))
    noise = noise_of(request.seed or 0)
    levels = spec.sized(width, height)
    sigmas = request.schedule.build(schedules)(levels, request.steps).to(memory.device.torch)
    x = spec.start(noise(torch.empty(spec.latent_shape(width, height), device=memory.device.torch)), sigmas[0])
    with memory.timed("net", spec.name, width, height, request.evaluations()):
        return (
            yield from paint(
                request,
                spec,
                memory,
                x,
                sigmas,
                cond,
                uncond,
                Path(spec.alpha, noise),
                picture=picture,
                pictures=pictures,
                shelf=shelf,
            )
        )


def paint(
    request: Sampled,
    spec: ModelSpec,
    memory: Memory,
    x: Tensor,
    sigmas: Tensor,
    cond: Cond,
    uncond: Cond,
    path: Path,
    constrain: Constrain | None = None,
    picture: int = 1,
    pictures: int = 1,
    beside: Tensor | None = None,
    shelf: Shelf | None = None,
) -> Generator[Event, None, Tensor]:
    """Walks x (1, C, h, w) down `sigmas`; returns the last x. `constrain` may change every x0 on its way.

    `beside` is what an inpainting network reads beside x (`ModelSpec.inpaints`); by default, everything is repainted.
    """
    with predicting(request, spec, memory, x, sigmas, beside, shelf=shelf) as (predict, look, guide):

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            denoised: Tensor = guide(predict, x, sigma, cond, uncond)
            return constrain(denoised, x, sigma) if constrain else denoised

        walk = request.sampler.build(samplers)(denoise, x, sigmas, path)
        latents = yield from narrated(walk, look, len(sigmas) - 1, picture, pictures)
    return checked(latents, spec)


@contextmanager
def predicting(
    request: Sampled,
    spec: ModelSpec,
    memory: Memory,
    x: Tensor,
    sigmas: Tensor,
    beside: Tensor | None = None,
    shelf: Shelf | None = None,
) -> Iterator[tuple[Predict, Look, Guide]]:
    """The network lent for a walk over `sigmas` from latents like `x`: (predict, look, guide), accelerators applied."""
    from pipelines.previews import looking

    if spec.inpaints and beside is None:
        beside = all_masked(spec, memory, x)
    with ExitStack() as stack:
        look = stack.enter_context(looking(spec, memory))  # before the network: it may need the autoencoder once
        net = stack.enter_context(memory.use(spec.net))
        located = stack.enter_context(painting_with(net, worn(request, spec), spec, memory))
        predict = tallied(located(spec.predictor(net, beside)), memory)
        run = Run(net, sigmas, memory, spec, shelf, request.said()[0])
        for choice in sorted(request.accelerators, key=lambda each: each.name != "compile"):  # it stands for the net
            predict = stack.enter_context(choice.build(accelerators).apply(predict, run))
        guide = stack.enter_context(request.guidance.build(guidances).apply(run))
        for choice in request.accelerators:
            guide = stack.enter_context(choice.build(accelerators).around(guide, run))
        yield predict, look, guide


def checked(latents: Tensor, spec: ModelSpec) -> Tensor:
    """The latents, all of them numbers. Raises StudioError."""
    if not latents.isfinite().all():
        raise StudioError(f"{spec.title} painted numbers that are none (NaN); its weights may be damaged.")
    return latents


def narrated(walk: Sampling, look: Look, steps: int, picture: int, pictures: int) -> Generator[Event, None, Tensor]:
    """The steps of a walk as progress with previews, no more of them than somebody could see."""
    begun, shown = time.monotonic(), 0.0
    while True:
        try:
            step = next(walk)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        now = time.monotonic()
        preview = None
        if now - shown >= PREVIEW_SECONDS:
            preview, shown = look(step.denoised), now
        left = (now - begun) / (step.index + 1) * (steps - step.index - 1)
        yield Progress(step.index + 1, steps, picture, pictures, preview, left, step.points)
