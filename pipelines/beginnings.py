"""Several beginnings of one painting, and the one among them that goes on: where what is seen agrees best with what
lies around the mask, nothing is cut off by its edge.

What a picture will show is settled in the first third of a walk. So that much is walked a few times, each time from
other noise, and the painter's own x0 just outside the mask, before it is put right there, is compared with the source.
Best of a few by a reward on x0 on the way, as in Kim et al. 2025 ("Inference-time scaling for flow models",
arXiv:2503.19385) and Singhal et al. 2025 ("FK steering", arXiv:2501.06848), by the picture itself and at one point.

Every second beginning sees the picture with the mask in its middle: a new thing fits in better so, and what was behind
an old one worse.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.centring import away_of, centred, in_sight
from pipelines.events import Event, Progress
from pipelines.grounds import Ground, Pins, levels, onward, pins_of, walked
from pipelines.painting import noise_of

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 0.32  # of the steps that each beginning takes
CENTRED = 0.64  # of the steps through which a view stays that has the mask in its middle
AROUND = 2  # latents around the mask that are looked at
LOOKS = 2  # the last so many x0 of a beginning are compared
APART = 1_000_003  # between the seeds of two beginnings; the first has the request's


@dataclass(frozen=True, eq=False)
class Begun:
    """A beginning: how far it missed what lies around the mask, where it has come to, its noise, and its view."""

    missed: float
    x: Tensor
    noise: Callable[[Tensor], Tensor]
    view: Ground


def best_begun(request: Any, ground: Ground, picture: int, pictures: int) -> Generator[Event, None, Tensor]:
    """As `walked`, from the best of `request.tries` beginnings, where the masked part begins as noise."""
    pins = pins_of(request, ground)
    near = around(pins.strengths > 0)
    sigmas = levels(request, ground, pins.strongest)
    if not chooses(request) or pins.strongest < 1 or not bool(near.any()) or len(sigmas) < 3:
        return (yield from walked(request, ground, picture, pictures))
    steps, away = len(sigmas) - 1, away_of(pins.strengths > 0)
    head, late = first_steps(steps), max(first_steps(steps), round(CENTRED * steps))
    centre = ground if away == (0, 0) else replace(ground, spec=centred(ground.spec, away))
    counted, found = counting(request.tries * head + steps - head), list[Begun]()
    for k in range(request.tries):
        noise, missed, view = noise_of((request.seed or 0) + k * APART), list[float](), (centre, ground)[k % 2]
        seen = near & in_sight(near, away) if view is not ground else near
        begun, held = pins.begun(noise, sigmas[0]), looking(pins, seen, missed)
        x = yield from counted(onward(request, view, begun, sigmas[: head + 1], noise, held, picture, pictures))
        found.append(Begun(sum(missed[-LOOKS:]), x, noise, view))
    best = min(found, key=lambda each: each.missed)
    x, left = best.x, sigmas[head:]
    if best.view is not ground and late > head:
        walk = onward(request, best.view, x, sigmas[head : late + 1], best.noise, pins.held, picture, pictures)
        x, left = (yield from counted(walk)), sigmas[late:]
    return (yield from counted(onward(request, ground, x, left, best.noise, pins.held, picture, pictures)))


def chooses(request: Any) -> bool:
    """Whether a request has more than one beginning, and a walk to begin; what accelerators keep from step to step
    would mix them up."""
    return request.tries > 1 and request.steps > 1 and not request.accelerators


def first_steps(steps: int) -> int:
    """How many of the steps a beginning takes."""
    return max(1, round(SHARE * steps))


def around(holes: Tensor) -> Tensor:
    """Where something lies just outside of holes (1, 1, h, w)."""
    from torch.nn.functional import max_pool2d

    return (max_pool2d(holes.float(), 2 * AROUND + 1, 1, AROUND) > 0) & ~holes


def looking(pins: Pins, near: Tensor, missed: list[float]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Holds x0 as `pins` do, and notes how far it was from the source nearby before."""

    def held(denoised: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        apart = (denoised - pins.ground.latents).square().mean(1, keepdim=True)
        missed.append(float(apart[near].mean()))
        return pins.held(denoised, x, sigma)

    return held


def counting(total: int) -> Callable[[Generator[Event, None, Tensor]], Generator[Event, None, Tensor]]:
    """Walks told as one of `total` steps."""
    begun, done = time.monotonic(), 0

    def counted(walk: Generator[Event, None, Tensor]) -> Generator[Event, None, Tensor]:
        nonlocal done
        before = done
        while True:
            try:
                event = next(walk)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if isinstance(event, Progress):
                done = before + event.step
                left = (time.monotonic() - begun) / done * (total - done)
                event = replace(event, step=done, steps=total, seconds_left=left)
            yield event

    return counted
