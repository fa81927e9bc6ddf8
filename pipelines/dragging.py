"""How a drag runs: what its arrows begin on is found, and the picture is taken along or pulled; who stops it keeps what
is best so far.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.adapters import chosen
from pipelines.errors import Stopped
from pipelines.events import Progress
from pipelines.grounds import levels, timed, walked
from pipelines.inversion import inverted, noise_in, numbered
from pipelines.painting import checked, narrated, noise_of, predicting
from pipelines.samplers import Path
from pipelines.types import Step

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.events import Event
    from pipelines.frames import Frame
    from pipelines.gestures import Arrow
    from pipelines.grounds import Ground
    from pipelines.memory import Memory
    from pipelines.motion import Shift
    from pipelines.pulling import Grip
    from pipelines.shelf import Shelf
    from pipelines.tasks.drag import Drag
    from pipelines.types import Sampling


def found(request: Drag, memory: Memory, shelf: Shelf, arrows: Sequence[Arrow]) -> str:
    """The name of a mask of what the arrows begin on, on the shelf: the things there, and at the least what is as near
    as `reach`. Raises StudioError for networks that show no maps."""
    import numpy as np
    from PIL import Image

    from pipelines.features import Click, seen, selected

    spec, picture = chosen(request), request.opened(shelf)
    sight = memory.recall(("seen", spec.net.key, request.source), lambda: seen(picture, spec, memory))
    things = np.zeros((picture.height, picture.width), bool)
    rows, columns = np.ogrid[: picture.height, : picture.width]
    for handle, _ in (each for each in arrows if each.length):
        x, y = int(handle.x), int(handle.y)
        if not things[y, x]:
            things |= np.asarray(selected(sight, [Click(x, y)])) > 127
            things |= (columns - x) ** 2 + (rows - y) ** 2 <= min(request.reach, min(picture.size) / 8) ** 2
    return shelf.put(Image.fromarray(np.where(things, 255, 0).astype(np.uint8)))


def dragged(
    request: Drag, ground: Ground, picture: int, pictures: int, shelf: Shelf, arrows: list[Arrow]
) -> Generator[Event, None, Tensor]:
    """Latents (1, C, h, w) of one drag over `ground`; stopped, of the best so far."""
    best = Best()
    try:
        if request.way != "warp":
            latents = yield from pulled(request, ground, picture, pictures, shelf, arrows, best)
        else:
            walk = walked(request, ground, picture, pictures, best.note)
            latents = yield from pointed(walk, tuple((each.target.x, each.target.y) for each in arrows))
    except Stopped:
        if best.denoised is None:
            raise
        latents = best.denoised
    ground.memory.check = lambda: None  # what there is will be decoded, whoever stops meanwhile
    return latents


def pulled(
    request: Drag, ground: Ground, picture: int, pictures: int, shelf: Shelf, arrows: list[Arrow], best: Best
) -> Generator[Event, None, Tensor]:
    """Latents (1, C, h, w) of one drag by energy or search; learned and inverted once for successive drags of one
    picture."""
    from pipelines.device import on_host
    from pipelines.identity import kept, learned
    from pipelines.pulling import Bank
    from pipelines.warping import coarse

    spec, memory, bank, frame = ground.spec, ground.memory, Bank(), request.frame(shelf)
    sigmas = levels(request, ground, request.depth)
    noises: dict[str, Any] = memory.recall(source_of(request, ground, sigmas), dict)
    if request.identity and "identity" not in noises:
        noises["identity"] = yield from learned(ground, request.identity, request.seed or 0)
    whole = wanted(request, ground, shelf, frame)
    sent = predicting(request, spec, memory, ground.latents, sigmas, ground.beside)
    with timed(request, ground, len(sigmas) - 1), sent as (predict, look, guide), memory.use(spec.net) as net:
        free = on_host(ground.mask[0, 0] > 0).numpy()
        shift = coarse(request.shift(shelf, request.opened(shelf).size), frame, spec.factor, free.shape, free)
        grip = gripped(request, ground, net, predict, guide, arrows, shift, frame, bank)
        walk = journey(request, grip, shift, ground.latents, whole, sigmas, noises, best)
        walk = in_pixels(walk, frame, spec.factor)
        up = 0 if "top" in noises else len(sigmas) - 1
        searching = request.updates if request.way == "search" else 0
        with kept(net, noises.get("identity"), spec.title), bank.held_by(net):
            latents = yield from narrated(walk, look, up + searching + len(sigmas) - 1, picture, pictures)
    return checked(latents, spec)


def wanted(request: Drag, ground: Ground, shelf: Shelf, frame: Frame) -> Tensor:
    """Latents (1, C, h, w) of the picture with all where it belongs; what that uncovers is filled smoothly."""
    import numpy as np

    from pipelines import warping
    from pipelines.pictures import to_pixels
    from pipelines.sheets import Sheet

    picture = request.opened(shelf)
    shift = request.shift(shelf, picture.size)
    hole = np.where(shift.left, 255, 0).astype(np.uint8)
    part, _ = Sheet(warping.shown(picture, shift), hole, cover=255).part(frame)
    with ground.memory.use(ground.spec.vae) as vae:
        return ground.spec.encode(vae, to_pixels(part).to(ground.latents.device))


def gripped(
    request: Drag,
    ground: Ground,
    net: Any,
    predict: Any,
    guide: Any,
    arrows: list[Arrow],
    shift: Shift,
    frame: Frame,
    bank: Any,
) -> Grip:
    """What the walk pulls by. Raises StudioError for networks that it cannot look into."""
    import torch

    from pipelines.motion import energy
    from pipelines.pulling import Grip, maps_of, shown_by

    cond, uncond, factor = ground.cond, ground.uncond, ground.spec.factor
    seen = shown_by(net, ground.spec, ground.memory, gradients=True)
    ends = places(arrows, frame, factor)  # (n, 2, 2)
    handles, targets = (torch.tensor(each, device=ground.latents.device) for each in (ends[:, 0], ends[:, 1]))
    return Grip(
        source=lambda x, sigma: predict(x, sigma, [cond])[0],
        result=lambda x, sigma: guide(predict, x, sigma, cond, uncond),
        maps=lambda x, sigma: maps_of(predict, seen, x, sigma, cond),
        bank=bank,
        path=Path(ground.spec.alpha, noise_of(request.seed or 0)),
        free=ground.mask > 0,
        worth=lambda now, before, _: energy(now, before, shift),
        handles=handles,
        targets=targets,
    )


def journey(
    request: Drag,
    grip: Grip,
    shift: Shift,
    latents: Tensor,
    whole: Tensor,
    sigmas: Tensor,
    noises: dict[str, Tensor],
    best: Best,
) -> Sampling:
    """Up, unless the noise of this picture is known from an earlier drag, and down beside the source."""
    from pipelines.motion import warped
    from pipelines.pulling import beside, searched

    def down(top: Tensor) -> Sampling:
        noises["top"] = top
        if request.way == "search":
            search = partial(searched, grip, top, sigmas[0], request.updates)
            return best.noted(numbered(search, lambda x: beside(grip, top, x, sigmas, 0.0)))
        eps = warped(noise_in(top, latents, sigmas[0], grip.path), shift, grip.path.noise(top))
        start = grip.path.alpha(sigmas[0]) * whole + sigmas[0] * eps
        return best.noted(beside(grip, top, start, sigmas, request.pull))

    if "top" in noises:
        return down(noises["top"])
    return numbered(partial(inverted, lambda x, sigma: (grip.source(x, sigma),) * 2, latents, sigmas, grip.path), down)


def source_of(request: Drag, ground: Ground, sigmas: Tensor) -> tuple[Any, ...]:
    """What the noise of a source depends on; the next drag of the same picture finds it."""
    from pipelines.device import on_host

    tensors = (ground.latents, sigmas, *(() if ground.beside is None else (ground.beside,)))
    digest = hashlib.sha256(b"".join(on_host(each).float().numpy().tobytes() for each in tensors)).hexdigest()
    worn = tuple(map(str, request.adapters))
    return "noise", ground.spec.net.key, tuple(ground.latents.shape), digest, request.said()[0], worn, request.identity


def places(arrows: list[Arrow], frame: Frame, factor: int) -> Any:
    """Handles and targets (n, 2, 2), in places of the latents."""
    import numpy as np

    left, top, right, bottom = frame.box
    scale = np.array([frame.width / (right - left), frame.height / (bottom - top)], np.float32)
    return ((np.array(arrows, np.float32) - (left, top) + 0.5) * scale / factor - 0.5).astype(np.float32)


def in_pixels(walk: Sampling, frame: Frame, factor: int) -> Sampling:
    """The same walk, its points in pixels of the picture."""
    left, top, right, bottom = frame.box
    across, down = (right - left) / frame.width * factor, (bottom - top) / frame.height * factor
    while True:
        try:
            step = next(walk)
        except StopIteration as end:
            return end.value
        points = tuple(((x + 0.5) * across - 0.5 + left, (y + 0.5) * down - 0.5 + top) for x, y in step.points)
        yield Step(step.index, step.denoised, points)


def pointed(
    running: Generator[Event, None, Tensor], points: tuple[tuple[float, float], ...]
) -> Generator[Event, None, Tensor]:
    """The same events, whose progress says where the points are: a warp has them there from the first step on."""
    while True:
        try:
            event = next(running)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        yield replace(event, points=points) if isinstance(event, Progress) else event


class Best:
    """The last x0 of a walk that is a picture of what was asked for; for who stops it."""

    def __init__(self) -> None:
        self.denoised: Tensor | None = None

    def note(self, denoised: Tensor) -> None:
        """This is better than what was noted."""
        self.denoised = denoised

    def noted(self, walk: Sampling) -> Sampling:
        """The same walk, each of whose steps is noted."""
        while True:
            try:
                step = next(walk)
            except StopIteration as end:
                return end.value
            self.note(step.denoised)
            yield step
