"""The knobs that all sampled tasks share, and the loop: the one place where predict, guidance and sampler meet."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Self

from pipelines.accelerators import accelerators
from pipelines.errors import StudioError
from pipelines.estimate import Expectation
from pipelines.events import Event, Progress, Stage
from pipelines.guidance import guidances
from pipelines.knobs import ModelName, NegativePrompt, Prompt, Steps, knob
from pipelines.method import Choice, OneOf
from pipelines.models import ModelSpec, find
from pipelines.request import SEEDS, Request
from pipelines.samplers import Path, samplers
from pipelines.schedules import schedules
from pipelines.types import Run

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.memory import Memory
    from pipelines.previews import Look
    from pipelines.types import Cond, Constrain, Sampling

DECODE_MAPS = 1.5  # feature maps of the picture's size and the middle level's width: 1.61 GB at 1024 px, 512 channels
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
    steps: Steps = 25
    sampler: SamplerChoice = Choice(name="dpmpp_2m")
    schedule: ScheduleChoice = Choice(name="karras")
    guidance: GuidanceChoice = Choice(name="cfg")
    accelerators: Accelerators = ()

    def singles(self) -> list[Self]:
        """One request a picture: seeds counted up from this one's, so that each can be painted alone."""
        if self.seed is None:
            raise ValueError("a request runs only after its seed was drawn")
        count: int = getattr(self, "count", 1)
        return [self.model_copy(update={"seed": (self.seed + k) % SEEDS, "count": 1}) for k in range(count)]

    def evaluations(self) -> int:
        """How many estimates of x0 one picture asks of the network."""
        return self.steps * self.sampler.build(samplers).calls * self.guidance.build(guidances).evaluations


def expected(request: Sampled, memory: Memory) -> Expectation:
    """What a request will cost here: seconds as this machine took them before, bytes by weights and decoder size."""
    spec = find(request.model)
    width, height, count = (int(getattr(request, field, 1)) for field in ("width", "height", "count"))
    step, decode = (memory.expected(work, spec.name, width, height) for work in ("net", "decode"))
    kind = memory.number_type(spec.vae).itemsize
    needed = sum(memory.weight(part) for part in (spec.text, spec.net, spec.vae)) + int(
        width * height * spec.vae.width * kind * DECODE_MAPS
    )
    if step is None or decode is None:
        return Expectation(None, needed, "not measured on this machine yet")
    return Expectation(
        count * (request.evaluations() * step + decode),
        needed,
        "" if memory.holds(spec.net) else "and the time to load it",
    )


def conditions(request: Sampled, spec: ModelSpec, memory: Memory) -> Generator[Event, None, tuple[Cond, Cond]]:
    """The prompt and the negative prompt, encoded; nothing is loaded for prompts that were encoded before."""
    yield Stage("Reading the prompt" if memory.holds(spec.text) else f"Loading {spec.title}")

    def encoded(prompt: str) -> Cond:
        def encode() -> Cond:
            with memory.use(spec.text) as text:
                cond: Cond = text(prompt)
            return cond

        return memory.recall((spec.text.key, prompt), encode)

    return encoded(request.prompt), encoded(request.negative_prompt)


def noise_of(seed: int) -> Callable[[Tensor], Tensor]:
    """A source of noise for one picture, drawn on the CPU so that it is the same on every device."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator, dtype=torch.float32).to(like.device)


def paint_one(
    request: Sampled, spec: ModelSpec, memory: Memory, cond: Cond, uncond: Cond, picture: int = 1, pictures: int = 1
) -> Generator[Event, None, Tensor]:
    """Latents (1, C, h, w) of one picture from pure noise, with progress."""
    import torch

    if not memory.holds(spec.net):
        yield Stage(f"Loading {spec.title}")
    width, height = (getattr(request, side) for side in ("width", "height"))
    noise = noise_of(request.seed or 0)
    sigmas = request.schedule.build(schedules)(spec, request.steps).to(memory.device.torch)
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
) -> Generator[Event, None, Tensor]:
    """Walks x (1, C, h, w) down `sigmas`; returns the last x. `constrain` may change every x0 on its way."""
    from pipelines.previews import looking

    with ExitStack() as stack:
        look = stack.enter_context(looking(spec, memory))  # before the network: it may need the autoencoder once
        net = stack.enter_context(memory.use(spec.net))
        predict, run = spec.predictor(net), Run(net, sigmas, memory)
        for choice in request.accelerators:
            predict = stack.enter_context(choice.build(accelerators).apply(predict, run))
        guide = request.guidance.build(guidances)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            denoised: Tensor = guide(predict, x, sigma, cond, uncond)
            return constrain(denoised) if constrain else denoised

        walk = request.sampler.build(samplers)(denoise, x, sigmas, path)
        latents = yield from narrated(walk, look, len(sigmas) - 1, picture, pictures)
    if not latents.isfinite().all():
        raise StudioError(f"{spec.title} painted numbers that are none (NaN); its weights may be damaged.")
    return latents


def narrated(walk: Sampling, look: Look, steps: int, picture: int, pictures: int) -> Generator[Event, None, Tensor]:
    """The steps of a walk as progress with previews, no more of them than somebody could see."""
    begun = time.monotonic()
    shown = 0.0
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
        yield Progress(step.index + 1, steps, picture, pictures, preview, left)
