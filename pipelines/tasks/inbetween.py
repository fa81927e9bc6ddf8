"""From one picture to another, in steps between."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pipelines.adapters import chosen, plain, worn
from pipelines.between import blended, corrected, slerp
from pipelines.errors import BadRequest
from pipelines.events import Event, Finished, Painted, Progress, Result, Stage
from pipelines.inversion import inverted, noise_in
from pipelines.knobs import LONGEST_PROMPT, Height, Prompt, Seed, Strength, Width, knob
from pipelines.painting import Sampled, conditions, encoded, noise_of, paint, predicting
from pipelines.samplers import Path
from pipelines.schedules import schedules
from pipelines.styles import dressed
from pipelines.tasks import Running, task

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from pipelines.memory import Memory
    from pipelines.models import ModelSpec
    from pipelines.shelf import Shelf
    from pipelines.types import Cond

Last = Annotated[
    str,
    *knob(
        "Last prompt",
        "What the last picture shows; empty for the same.",
        "lines",
        advanced=False,
        max_length=LONGEST_PROMPT,
    ),
]
LastSeed = Annotated[
    Seed, *knob("Last seed", "The seed of the last picture. Empty keeps the first's noise.", "seed", ge=0, lt=2**32)
]
Steps = Annotated[
    int, *knob("Frames", "How many pictures, the two ends among them.", ge=2, le=60, step=1, advanced=False)
]
Shows = Annotated[
    Literal["strip", "animation", "pictures"],
    *knob("Shows", "One strip of all, one that moves, or each by itself.", advanced=False),
]
_end = "^([0-9a-f]{32})?$"
First = Annotated[
    str, *knob("First picture", "To begin from, in place of noise.", "reference", advanced=False, pattern=_end)
]
Final = Annotated[
    str, *knob("Last picture", "To end at, in place of noise.", "reference", advanced=False, pattern=_end)
]
Moment = Annotated[
    float, *knob("At", "Only the picture so far on the way; below 0 all of them.", "hidden", ge=-1, le=1)
]
PAUSE = 120  # milliseconds that a frame of an animation stands


class Inbetween(Sampled):
    """Goes from one picture, prompt or seed to another in small steps, as a strip or as an animation."""

    task: Literal["inbetween"] = "inbetween"
    count: ClassVar[int] = 1
    prompt: Prompt = ""  # before the last one on the page
    last: Last = ""
    source: First = ""
    last_source: Final = ""
    frames: Steps = 6
    shows: Shows = "strip"
    last_seed: LastSeed = None
    strength: Strength = 0.6
    width: Width = 256
    height: Height = 256
    at: Moment = -1.0

    def shares(self) -> list[float]:
        """How far on the way each frame is, 0..1."""
        return [self.at] if self.at >= 0 else [k / (self.frames - 1) for k in range(self.frames)]

    def areas(self, shelf: Shelf | None) -> float:
        return float(len(self.shares()))

    def alone(self, share: float) -> Self:
        """The request that paints one frame."""
        return self.model_copy(update={"at": share, "shows": "pictures"})


@task(Inbetween)
def inbetween(request: Inbetween, memory: Memory, shelf: Shelf) -> Running:
    """Every frame walks with the same fresh noise, so that what differs is only where it sets out, and its words."""
    from pipelines.pictures import to_pictures

    if bool(request.source) != bool(request.last_source):
        raise BadRequest("Last picture: choose both pictures, or neither.")
    spec = chosen(request)
    first, uncond = yield from conditions(request, spec, memory)
    words = plain(dressed(request.last or request.prompt, "", request.styles)[0])
    last = encoded(spec, memory, words, weights=worn(request, spec))
    ends = yield from setting_out(request, spec, memory, shelf, (first, last))
    pictures: list[Image] = []
    shares, done = request.shares(), []
    for k, share in enumerate(shares):
        path = Path(spec.alpha, noise_of((request.seed or 0) + 1))
        cond = first if share == 0 else last if share == 1 else blended(first, last, share)
        with memory.timed("net", spec.name, request.width, request.height, request.evaluations()):
            latents = yield from paint(
                request,
                spec,
                memory,
                ends.x(share),
                ends.sigmas,
                cond,
                uncond,
                path,
                picture=k + 1,
                pictures=len(shares),
                shelf=shelf,
            )
        yield Stage("Decoding")
        with memory.use(spec.vae) as vae, memory.timed("decode", spec.name, request.width, request.height):
            pictures += to_pictures(spec.decode(vae, latents)[..., : request.height, : request.width])
        if request.shows == "pictures":
            done.append(Painted(pictures[-1], request.alone(share)))
            yield Finished(done[-1])
    if request.shows != "pictures":
        done.append(together(request, pictures))
        yield Finished(done[-1])
    return Result(tuple(done))


def together(request: Inbetween, pictures: list[Image]) -> Painted[Any]:
    """All frames as one picture: side by side, or one after another, there and back."""
    from PIL import Image

    if request.shows == "animation":
        return Painted(pictures[0], request, frames=(*pictures[1:], *pictures[-2:0:-1]), pause=PAUSE)
    strip = Image.new("RGB", (sum(each.width for each in pictures), pictures[0].height))
    for k, picture in enumerate(pictures):
        strip.paste(picture, (k * picture.width, 0))
    return Painted(strip, request)


class Ends:
    """Where walks set out: from noise between two seeds, or from what inversion found in two pictures."""

    def __init__(
        self, spec: ModelSpec, sigmas: Tensor, noises: tuple[Tensor, Tensor], latents: tuple[Tensor, Tensor] | None
    ) -> None:
        self.spec, self.sigmas, self.noises, self.latents = spec, sigmas, noises, latents

    def x(self, share: float) -> Tensor:
        """x at the first level, `share` of the way."""
        sigma = self.sigmas[0]
        if self.latents is None:
            return self.spec.start(slerp(*self.noises, share), sigma)
        return corrected(self.noises, self.latents, share, self.spec.alpha(sigma), sigma)


def setting_out(
    request: Inbetween, spec: ModelSpec, memory: Memory, shelf: Shelf, conds: tuple[Cond, Cond]
) -> Generator[Event, None, Ends]:
    """The two ends. Pictures are walked up into noise as far as the strength says, each under its own words."""
    import torch

    size = request.width, request.height
    sigmas = request.schedule.build(schedules)(spec.sized(*size), request.steps).to(memory.device.torch)
    template = torch.empty(spec.latent_shape(*size), device=memory.device.torch)
    if not request.source:
        seeds = request.seed or 0, request.seed if request.last_seed is None else request.last_seed
        one, other = (noise_of(seed or 0)(template) for seed in seeds)
        return Ends(spec, sigmas, (one, other), None)
    walked = max(2, round(request.strength * request.steps))  # steps at the least: one has no way up
    sigmas = sigmas[-(walked + 1) :]
    latents = [read(shelf.open(name), request, spec, memory) for name in (request.source, request.last_source)]
    noises = []
    for k, (cond, each) in enumerate(zip(conds, latents, strict=True)):
        x = yield from _noise_of_picture(request, spec, memory, each, sigmas, cond, k)
        noises.append(noise_in(x, each, sigmas[0], Path(spec.alpha)))
    return Ends(spec, sigmas, (noises[0], noises[1]), (latents[0], latents[1]))


def read(picture: Image, request: Inbetween, spec: ModelSpec, memory: Memory) -> Tensor:
    """A picture cut to the request's shape, as latents (1, C, h, w)."""
    from PIL import ImageOps

    from pipelines.pictures import to_pixels

    rows, columns = (spec.factor * edge for edge in spec.latent_shape(request.width, request.height)[-2:])
    pixels = to_pixels(ImageOps.fit(picture.convert("RGB"), (columns, rows))).to(memory.device.torch)
    with memory.use(spec.vae) as vae:
        return spec.encode(vae, pixels)


def _noise_of_picture(
    request: Inbetween, spec: ModelSpec, memory: Memory, latents: Tensor, sigmas: Tensor, cond: Cond, which: int
) -> Generator[Event, None, Tensor]:
    """x at the first level that leads down to `latents` again."""
    with predicting(request, spec, memory, latents, sigmas) as (predict, _, __):
        walk = inverted(lambda x, sigma: (predict(x, sigma, [cond])[0],) * 2, latents, sigmas, Path(spec.alpha))
        yield Stage(f"Looking for the noise in picture {which + 1}")
        while True:
            try:
                step = next(walk)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            yield Progress(step.index + 1, len(sigmas) - 1)
