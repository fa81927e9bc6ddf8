"""The round that repaints: a picture becomes the ground of a walk, each walk a painting, each painting a result.

Places that may not change yet are pinned: their x0 is the source's at every step, which leaves x at the source noised
to that step's level, for every sampler. A place is free from the noise level that its strength names; Levin & Fried
2023, "Differential Diffusion" (arXiv:2306.00950). Strength 0 is the source, 1 begins with noise alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.adapters import chosen
from pipelines.events import Event, Finished, Painted, Result, Stage
from pipelines.painting import Sampled, conditions, noise_of, paint
from pipelines.repainting import Repainted, step_of, strength_of
from pipelines.samplers import Path
from pipelines.schedules import schedules

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from pipelines.frames import Frame
    from pipelines.memory import Memory
    from pipelines.models import ModelSpec
    from pipelines.sheets import Sheet
    from pipelines.shelf import Shelf
    from pipelines.tasks import Running
    from pipelines.types import Cond, Constrain

NEAR = 0.9  # of the first noise level; a schedule's levels closer to it than this would make a step of nothing


@dataclass(frozen=True, eq=False)
class Ground:
    """What a walk over a picture stands on: the model, what the prompts became, and the picture on the device."""

    spec: ModelSpec
    memory: Memory
    cond: Cond
    uncond: Cond
    pixels: Tensor  # (1, 3, H, W) of the source, at the painting's outer size
    holes: Tensor  # (1, 1, H, W), 1 where anything may change
    latents: Tensor  # (1, C, h, w) of the source
    mask: Tensor  # (1, 1, h, w), how strongly each place may change, 0..1
    beside: Tensor | None  # (1, 1 + C, h, w), what an inpainting network reads


Walk = Callable[[Any, Ground, int, int], Generator[Event, None, "Tensor"]]  # (request, ground, k, of n) -> latents


def repainted(request: Any, memory: Memory, shelf: Shelf, walk: Walk) -> Running:
    """Repaints the request's sheet, picture by picture, and puts each painting back into it."""
    spec, sheet, strength = chosen(request), request.sheet(shelf), strength_of(request)
    frame = sheet.frame(spec.side, step_of(spec), request.detail)
    ground, read = None, None
    if strength * sheet.strongest > 0:
        ground = yield from grounded(request, spec, memory, sheet, frame)
        read = decoded(ground, ground.latents) if request.keeps_detail else None
    done: list[Painted[Any]] = []
    remarks: list[str] = [*sheet.remarks]
    for k, single in enumerate(request.singles()):
        result = sheet.picture
        if ground:
            if not memory.holds(spec.net):
                yield Stage(f"Loading {spec.title}")
            latents = yield from walk(single, ground, k + 1, request.count)
            yield Stage("Decoding")
            result = sheet.composed(decoded(ground, latents), frame, strength, read)
        remarks.append(sheet.verdict(result, frame, f"Picture {k + 1}" if request.count > 1 else "The picture"))
        done.append(Painted(result, single))
        yield Finished(done[-1])
    return Result(tuple(done), tuple(remarks))


def grounded(
    request: Any, spec: ModelSpec, memory: Memory, sheet: Sheet, frame: Frame
) -> Generator[Event, None, Ground]:
    """Prompts and picture, read; in the mask, a place of the latents may change as much as any pixel of it."""
    import torch
    from torch.nn.functional import max_pool2d

    from pipelines.pictures import to_pixels

    cond, uncond = yield from conditions(request, spec, memory)
    yield Stage("Reading the picture")
    picture, levels = sheet.part(frame)
    place = memory.device.torch
    pixels = to_pixels(picture).to(place)
    strengths = torch.from_numpy(levels).to(place)[None, None].float() / 255  # (1, 1, H, W)
    holes = (strengths > 0).float()
    mask = max_pool2d(strengths, spec.factor)
    beside = None
    with memory.use(spec.vae) as vae:
        latents = spec.encode(vae, pixels)
        if spec.inpaints:
            beside = torch.cat([(mask > 0).float(), spec.encode(vae, pixels * (1 - holes))], 1)
    return Ground(spec, memory, cond, uncond, pixels, holes, latents, mask, beside)


@dataclass(frozen=True, eq=False)
class Pins:
    """How long each place stays what the source is: `strengths` (1, 1, h, w), and the noise level from which it is
    free."""

    ground: Ground
    strengths: Tensor
    free_from: Tensor

    @property
    def strongest(self) -> float:
        """How much changes at the most, 0..1."""
        return float(self.strengths.max())

    def begun(self, noise: Callable[[Tensor], Tensor], sigma: Tensor) -> Tensor:
        """What a walk begins with: noise where all may change, the source under noise elsewhere."""
        import torch

        spec, latents = self.ground.spec, self.ground.latents
        drawn = noise(latents)
        return torch.where(self.strengths >= 1, spec.start(drawn, sigma), spec.noised(latents, drawn, sigma))

    def held(self, denoised: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """An x0 with the source where nothing may change yet."""
        import torch

        return torch.where((self.strengths > 0) & (sigma <= self.free_from), denoised, self.ground.latents)


def pins_of(request: Any, ground: Ground) -> Pins:
    """What a request lets change of its ground."""
    import torch

    strengths = softened(ground.spec, ground.mask, strength_of(request))
    free_from = torch.where(strengths >= 1, torch.inf, sigma_at(ground.spec, strengths) * (1 + 1e-5))
    return Pins(ground, strengths, free_from)


def walked(
    request: Any, ground: Ground, picture: int, pictures: int, note: Callable[[Tensor], None] = lambda _: None
) -> Generator[Event, None, Tensor]:
    """Latents (1, C, h, w) of one painting over `ground`, pinned where and as long as its mask says so; `note` hears of
    every x0 on the way."""
    pins, noise = pins_of(request, ground), noise_of(request.seed or 0)
    sigmas = levels(request, ground, pins.strongest)

    def pinned(denoised: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        held = pins.held(denoised, x, sigma)
        note(held)
        return held

    x = pins.begun(noise, sigmas[0])
    return (yield from onward(request, ground, x, sigmas, noise, pinned, picture, pictures))


def onward(
    request: Any,
    ground: Ground,
    x: Tensor,
    sigmas: Tensor,
    noise: Callable[[Tensor], Tensor],
    constrain: Constrain,
    picture: int,
    pictures: int,
) -> Generator[Event, None, Tensor]:
    """Latents x walked down noise levels over a ground."""
    path = Path(ground.spec.alpha, noise)
    with timed(request, ground, len(sigmas) - 1):
        return (
            yield from paint(
                request, ground.spec, ground.memory, x, sigmas, ground.cond, ground.uncond, path,
                constrain, picture, pictures, ground.beside,
            )
        )  # fmt: skip


def levels(request: Sampled, ground: Ground, strength: float) -> Tensor:
    """The noise levels of a walk that begins at a strength: that level, and what the schedule has below it."""
    import torch

    spec, (height, width) = ground.spec, ground.pixels.shape[-2:]
    sigmas: Tensor = request.schedule.build(schedules)(spec.sized(width, height), request.steps)
    first = sigma_at(spec, torch.tensor(strength))
    if strength < 1 and first < sigmas[0]:
        sigmas = torch.cat([first[None].to(sigmas), sigmas[sigmas < NEAR * first]])
    return sigmas.to(ground.latents.device)


def sigma_at(spec: ModelSpec, strength: Tensor) -> Tensor:
    """The noise level that a strength stands for: that share of the way up the steps the model was trained at."""
    table = spec.table().to(strength.device)
    at = strength * (len(table) - 1)
    low, high = table[at.long()], table[(at.long() + 1).clamp(max=len(table) - 1)]
    return low + (high - low) * at.frac()  # type: ignore[no-any-return]


def softened(spec: ModelSpec, mask: Tensor, strength: float) -> Tensor:
    """The strength of each place of a mask of 0..1, 0..`strength`: half a mask frees a place when half as much of it is
    noise, by amplitude, as at the strength itself.

    Strengths count steps, of which most change everything: with half of them all of a thing is gone already, and the
    upper half of a mask would make no difference. For flow models the two are the same.
    """
    import torch

    table = spec.table().to(mask)
    noise = table / (spec.alpha(table) + table)  # of the amplitude, rising
    top = torch.as_tensor(strength).to(mask)
    first = sigma_at(spec, top)
    wanted = mask if strength >= 1 else mask * (first / (spec.alpha(first) + first))
    at = torch.searchsorted(noise, wanted.contiguous()).clamp(1, len(table) - 1)
    low, high = noise[at - 1], noise[at]
    place = (at - 1 + ((wanted - low) / (high - low)).clamp(0, 1)) / (len(table) - 1)
    return torch.where(mask >= 1, top, torch.where(mask > 0, place.clamp(1e-6).minimum(top), 0))


def timed(request: Repainted, ground: Ground, steps: int) -> AbstractContextManager[None]:
    """Notes how long a walk of so many steps takes, by the estimates it asks for."""
    height, width = ground.pixels.shape[-2:]
    return ground.memory.timed("net", ground.spec.name, width, height, request.walking(steps))


def decoded(ground: Ground, latents: Tensor) -> Image:
    """The painting at its outer size; a decoder that can keep what is not masked sees it."""
    from pipelines.pictures import to_pictures

    spec, memory, (height, width) = ground.spec, ground.memory, ground.pixels.shape[-2:]
    with memory.use(spec.vae) as vae, memory.timed("decode", spec.name, width, height):
        if spec.decode_keeping:
            return to_pictures(spec.decode_keeping(vae, latents, ground.pixels, ground.holes))[0]
        return to_pictures(spec.decode(vae, latents))[0]
