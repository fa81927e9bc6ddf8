"""A search for one picture of a request: the terrain laid out, the search run, and told as it goes."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pipelines.adapters import painting_with, worn
from pipelines.errors import BadRequest
from pipelines.events import Event, Progress, Stage
from pipelines.guidance import guidances
from pipelines.knobs import knob
from pipelines.method import Choice, OneOf
from pipelines.models.unet import all_masked
from pipelines.painting import PREVIEW_SECONDS, checked, noise_of, predicting
from pipelines.request import SEEDS
from pipelines.samplers import samplers
from pipelines.schedules import schedules
from pipelines.searches import searches
from pipelines.terrain import STRIDE, Meter, Terrain
from pipelines.types import tallied
from pipelines.verifiers import Case, Verifier, verifiers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.memory import Memory
    from pipelines.models import ModelSpec
    from pipelines.painting import Sampled
    from pipelines.shelf import Shelf
    from pipelines.types import Cond, Denoise, Predict

SearchChoice = Annotated[
    Choice, OneOf(searches), *knob("Search", "Looks for a better picture than the first that comes.")
]
Judges = Annotated[
    tuple[Annotated[Choice, OneOf(verifiers)], ...],
    *knob("Judged by", "What a search looks for; several count by the mean of the ranks they give."),
]
RESUMABLE = 4  # searches whose pieces are remembered


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a search came to: x0 latents (1, C, h, w), a sentence, and the seed whose plain picture it is, if it is."""

    latents: Tensor
    remark: str
    seed: int | None


@dataclass(frozen=True, eq=False)
class Hunt:
    """One picture of a request that is searched for, with what it takes."""

    request: Any
    spec: ModelSpec
    memory: Memory
    shelf: Shelf
    cond: Cond
    uncond: Cond
    judges: tuple[Verifier, ...]
    meter: Meter
    sigmas: Tensor
    template: Tensor

    @contextmanager
    def opened(self) -> Iterator[Denoise]:
        """A guided estimate for one walk, with guidance and accelerators that have seen nothing yet."""
        sent = predicting(
            self.request,
            self.spec,
            self.memory,
            self.template,
            self.sigmas,
            shelf=self.shelf,
        )
        with sent as (predict, _, guide):
            yield lambda x, sigma: guide(predict, x, sigma, self.cond, self.uncond)

    @contextmanager
    def lent(self) -> Iterator[Predict]:
        """The network for verifiers, with the request's adapters on it."""
        beside = all_masked(self.spec, self.memory, self.template) if self.spec.inpaints else None
        weights = worn(self.request, self.spec)
        with self.memory.use(self.spec.net) as net, painting_with(net, weights, self.spec, self.memory):
            yield tallied(self.spec.predictor(net, beside), self.memory)

    def judge(self, x0: Tensor) -> Tensor:
        """The score of x0 latents (1, C, h, w) by every verifier, (V,)."""
        import torch

        from pipelines.device import on_host

        case = Case(self.request.prompt, self.cond, self.uncond, self.spec, self.memory, self.shelf, self.lent)
        pixels = None if all(each.sees_latents for each in self.judges) else self.decoded(x0)
        said = [each(x0 if each.sees_latents or pixels is None else pixels, case) for each in self.judges]
        return on_host(torch.cat([each.double() for each in said]))

    def decoded(self, x0: Tensor) -> Tensor:
        """Pixels (1, 3, H, W) of x0 latents."""
        with self.memory.use(self.spec.vae) as vae:
            pixels = self.spec.decode(vae, x0)
        return pixels[..., : self.request.height, : self.request.width].clamp(-1, 1)

    def terrain(self) -> Terrain:
        """All of it as a search sees it."""
        import torch

        sampler, guidance = self.request.sampler.build(samplers), self.request.guidance.build(guidances)
        seed, prompt = self.request.seed or 0, self.request.prompt
        call = math.ceil(max(guidance.evaluations, guidance.asked(prompt)))
        return Terrain(
            self.sigmas,
            self.template,
            self.spec.alpha,
            self.spec.start,
            self.opened,
            self.judge,
            source=lambda number: noise_of(seed_of(seed, number)),
            chance=lambda number: torch.Generator().manual_seed(seed_of(seed, number)),
            sampler=sampler,
            meter=self.meter,
            budget=self.request.search.knobs["budget"],
            whole=sampler.evaluations(self.request.steps) * call,
            call=call,
            judging=sum(each.evaluations for each in self.judges),
            log=log_of(self.request, self.memory),
        )


def searched(
    request: Any,
    spec: ModelSpec,
    memory: Memory,
    shelf: Shelf,
    cond: Cond,
    uncond: Cond,
    picture: int = 1,
    pictures: int = 1,
) -> Generator[Event, None, Outcome]:
    """The best picture that the request's search finds within its budget. Raises BadRequest where that is too small."""
    import torch

    if not request.verifiers:
        raise BadRequest("Judged by: choose what the search should look for.")
    if not memory.holds(spec.net):
        yield Stage(f"Loading {spec.title}")
    sigmas = request.schedule.build(schedules)(spec.sized(request.width, request.height), request.steps)
    template = torch.empty(spec.latent_shape(request.width, request.height), device=memory.device.torch)
    judges = tuple(each.build(verifiers) for each in request.verifiers)
    sigmas = sigmas.to(memory.device.torch)
    hunt = Hunt(request, spec, memory, shelf, cond, uncond, judges, Meter(lambda: memory.estimates), sigmas, template)
    terrain = hunt.terrain()
    yield from told(hunt, terrain, picture, pictures)
    if not terrain.tries:
        least = terrain.whole + terrain.judging
        raise BadRequest(f"Budget: one picture of {request.steps} steps takes {least} estimates; allow as many.")
    best = terrain.best()
    seed = None if best.number is None else seed_of(request.seed or 0, best.number)
    return Outcome(checked(best.x0, spec), remark(request, terrain), seed)


def told(hunt: Hunt, terrain: Terrain, picture: int, pictures: int) -> Generator[Event, None, None]:
    """Runs the search; tells what was spent, and shows the best so far, before there is one what is being painted."""
    from pipelines.previews import looking

    begun = shown = time.monotonic()
    best, preview = None, None
    for step in hunt.request.search.build(searches)(terrain):
        if terrain.tries and terrain.best() is not best:
            best, shown = terrain.best(), 0.0
        now, preview = time.monotonic(), None
        if now - shown >= PREVIEW_SECONDS:
            with looking(hunt.spec, hunt.memory) as look:
                preview, shown = look(best.x0 if best else step.denoised), now
        fresh = max(terrain.meter.fresh, 1)
        left = (now - begun) / fresh * (terrain.budget - terrain.meter.spent)
        spent = min(terrain.meter.spent, terrain.budget)
        yield Progress(spent, terrain.budget, picture, pictures, preview, max(left, 0.0))


def remark(request: Any, terrain: Terrain) -> str:
    """What a person should know of a search that has ended."""
    scores = ", ".join(
        f"{(verifiers[judge.name].title or judge.name).lower()} {float(score):.3g}"
        for judge, score in zip(request.verifiers, terrain.best().scores, strict=True)
    )
    again = f", {terrain.meter.resumed} of them in an earlier run" if terrain.meter.resumed else ""
    return f"The best of {len(terrain.tries)} ({scores}), for {terrain.meter.spent} estimates{again}."


def log_of(request: Sampled, memory: Memory) -> dict[Any, Any]:
    """The pieces of earlier runs of this search; a larger budget is no other search."""
    logs: OrderedDict[str, dict[Any, Any]] = memory.recall("searches", OrderedDict)
    same = request.model_dump(exclude={"count", "search", "verifiers"})
    judges = [each.model_dump_json() for each in getattr(request, "verifiers", ())]
    name = f"{sorted(same.items(), key=lambda each: each[0])} {judges}"
    logs.setdefault(name, {})
    logs.move_to_end(name)
    while len(logs) > RESUMABLE:
        logs.popitem(last=False)
    return logs[name]


def seed_of(seed: int, number: int) -> int:
    """The seed of number k of a search; that of 0 is the request's own."""
    return (seed + STRIDE * number) % SEEDS
