"""Walks that pull: the network's own features say how far something is from where it belongs, and their gradient, or a
search for better noise, brings it there, while self-attention keeps reading the source.

DragonDiffusion, Mou et al. 2023 (arXiv:2307.02421); DiffEditor, Mou et al. 2024 (arXiv:2402.02583); DragDiffusion, Shi
et al. 2023 (arXiv:2306.14435). It knows no request and no picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pipelines.accelerators.patches import attending
from pipelines.errors import StudioError
from pipelines.inversion import noise_in
from pipelines.motion import returned, sampled, stepped, supervision, tracked
from pipelines.samplers import Path, Step

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.memory import Memory
    from pipelines.models import ModelSpec
    from pipelines.types import Cond, Denoise, Predict, Sampling

GUIDED = (0.0, 0.6)  # shares of the walk in which the energy pulls, noise is fresh, and time goes back: DiffEditor's
FRESH = (0.2, 0.4)
TRAVELLED = (0.4, 0.6)
ETA = 0.4  # of the fresh noise
ROUNDS = 3  # of a step that time travel repeats
RATE = 0.01  # of Adam, in standard deviations of x: DragDiffusion's
RADIUS = 1  # places around a point that are pulled with it
REACH = 3.0  # places that a point is looked for around where it was
THERE = 0.5  # of a place; from here on a point has arrived
SHOWN = 5  # updates between two previews of a search

# (maps of the result, of the source, sigma) -> how far from done, a number
Worth = Callable[[Sequence["Tensor"], Sequence["Tensor"], "Tensor"], "Tensor"]


@dataclass(frozen=True, eq=False)
class Grip:
    """What pulling needs of a walk: x0 of the source and of the result, maps with gradients, and how far from done they
    say that it is. `free` (1, 1, h, w) is True where something may change.

    `handles` and `targets` (n, 2) are places of the latents.
    """

    source: Denoise
    result: Denoise
    maps: Callable[[Tensor, Tensor], list[Tensor]]  # (x, sigma) -> each (1, C, a, b)
    bank: Bank
    path: Path
    free: Tensor
    worth: Worth
    handles: Tensor
    targets: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the latents."""
        return self.free.shape[2], self.free.shape[3]


class Bank:
    """What the self-attention of the way up reads: `writing` notes it, `reading` has it read what was noted."""

    def __init__(self) -> None:
        self.mode = ""

    @contextmanager
    def during(self, mode: str) -> Iterator[None]:
        """`write` or `read`, as long as the block lasts."""
        self.mode = mode
        try:
            yield
        finally:
            self.mode = ""

    @contextmanager
    def held_by(self, net: Any) -> Iterator[None]:
        """The layers of a UNet read this bank, as long as the block lasts."""
        with attending(net.up_blocks, lambda own: FromBank(own, self)):
            yield


class FromBank:
    """A self-attention whose keys and values may be those of another pass."""

    def __init__(self, own: Any, bank: Bank) -> None:
        self.own, self.bank = own, bank
        self.states: Tensor | None = None  # (1, T, D)

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, *more: Any, **named: Any
    ) -> Any:
        if encoder_hidden_states is None and self.bank.mode == "write":
            self.states = hidden_states.detach()
        if encoder_hidden_states is None and self.bank.mode == "read" and self.states is not None:
            encoder_hidden_states = self.states.expand(len(hidden_states), -1, -1)
        return self.own(attn, hidden_states, encoder_hidden_states, *more, **named)


class Enough(Exception):
    """Ends a pass of a network when all that was wanted of it is there."""


def shown_by(net: Any, spec: ModelSpec, memory: Memory, gradients: bool) -> list[Any]:
    """Levels whose maps show what is where: the last two but one on the way up; of a network that has only two, the
    first and the beginning of the other. Raises StudioError for a network without them, and with `gradients` for one
    that lies in memory in pieces."""
    from pipelines.resident import Rung

    blocks = getattr(net, "up_blocks", [])
    if len(blocks) < 2:
        raise StudioError(f"{spec.title} shows no maps to pull things by; choose a model with a UNet, such as Pocket.")
    found = memory.found(spec.net)
    if gradients and found is not None and found.rung is not None and found.rung > Rung.STRIPED:
        raise StudioError(f"{spec.title} does not fit in memory whole, which pulling needs; use the way warp instead.")
    return list(blocks[:-1][-2:]) if len(blocks) > 2 else [blocks[0], blocks[1].resnets[0]]


def maps_of(predict: Predict, levels: Sequence[Any], x: Tensor, sigma: Tensor, cond: Cond) -> list[Tensor]:
    """What levels of a network show of x, each (1, C, a, b); no more of the network is computed than they need."""
    kept: list[Tensor] = []

    def keep(_: Any, __: Any, output: Any) -> None:
        kept.append(output[0] if isinstance(output, tuple) else output)
        if len(kept) == len(levels):
            raise Enough

    hooks = [level.register_forward_hook(keep) for level in levels]
    try:
        predict(x, sigma, [cond])
    except Enough:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return [each.float() for each in kept]


def beside(grip: Grip, there: Tensor, x: Tensor, sigmas: Tensor, pull: float) -> Sampling:
    """Walks the source down from `there`, and the result from `x` beside it, which reads the source's keys and values,
    is the source where it is not free, and is pulled, unless `pull` is 0, down the energy."""
    import torch

    path, count = grip.path, len(sigmas) - 1
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        share = i / count
        with grip.bank.during("write"):
            source = grip.source(there, sigma)
        following = path.alpha(sigma_next) * source + sigma_next * noise_in(there, source, sigma, path)
        before = grip.maps(there, sigma) if pull and within(share, GUIDED) else []
        eta = grip.free * (ETA if pull and within(share, FRESH) else 0.0)
        points: tuple[tuple[float, float], ...] = ()
        for left in reversed(range(ROUNDS if before and within(share, TRAVELLED) and sigma_next > 0 else 1)):
            with grip.bank.during("read"):
                denoised = grip.result(x, sigma)
            if before:
                push, points = pushed(grip, x, sigma, before)
                denoised = denoised - pull * sigma / path.alpha(sigma).clamp(min=0.05) * push
            after = torch.where(grip.free, stepped(x, denoised, sigma, sigma_next, eta, path), following)
            if left:
                x = torch.where(grip.free, returned(after, sigma_next, sigma, path), there)
        yield Step(i, torch.where(grip.free, denoised, source), points)
        x, there = after, following
    return x


def pushed(
    grip: Grip, x: Tensor, sigma: Tensor, before: Sequence[Tensor]
) -> tuple[Tensor, tuple[tuple[float, float], ...]]:
    """Up the energy at x, of size 1 where anything is free, and less as it is done; and where the points are."""
    import torch

    with torch.enable_grad():
        given = x.detach().clone().requires_grad_(True)
        now = grip.maps(given, sigma)
        worth = grip.worth(now, before, sigma)
        if not worth.requires_grad:  # nothing moves
            return torch.zeros_like(x), ()
        (grad,) = torch.autograd.grad(worth, given)
    grad = grad * grip.free
    size = (grad.pow(2).sum() / (grip.free.sum() * x.shape[1]).clamp(min=1)).sqrt()
    points: tuple[tuple[float, float], ...] = ()
    if len(grip.handles):
        looks = sampled(before[-1], grip.handles, grip.shape).T
        far = max(REACH, float((grip.targets - grip.handles).norm(dim=-1).max()))
        points = listed(tracked(now[-1].detach(), looks, grip.targets, far, grip.shape))
    return grad / size.clamp(min=1e-12), points


def searched(grip: Grip, x: Tensor, sigma: Tensor, updates: int) -> Sampling:
    """Noisy latents in which every handle has come to its target, or as near as so many updates bring it.

    DragDiffusion, Section 3.2: motion supervision by one optimisation step, then point tracking, and again. What is not
    free is held.
    """
    import torch

    unit = float((grip.path.alpha(sigma) ** 2 + sigma**2).sqrt())
    found = x.detach().clone()
    adam = torch.optim.Adam([found], lr=RATE * unit)
    looks = sampled(grip.maps(x, sigma)[-1], grip.handles, grip.shape).T
    points, denoised = grip.handles, grip.result(x, sigma)
    for k in range(updates):
        with torch.enable_grad():
            given = found.detach().requires_grad_(True)
            now = grip.maps(given, sigma)[-1]
            if k:
                points = tracked(now.detach(), looks, points, REACH, grip.shape)
            if float((points - grip.targets).norm(dim=-1).max()) <= THERE:
                break
            loss = supervision(now, points, grip.targets, RADIUS, grip.shape)
            (grad,) = torch.autograd.grad(loss, given)
        found.grad = grad * grip.free
        adam.step()
        if k % SHOWN == SHOWN - 1:
            denoised = grip.result(found, sigma)
        yield Step(k, denoised, listed(points))
    return found


def within(share: float, window: tuple[float, float]) -> bool:
    """Whether a share of the walk lies in a window."""
    return window[0] <= share < window[1]


def listed(points: Tensor) -> tuple[tuple[float, float], ...]:
    """Places (n, 2) as numbers."""
    return tuple((float(x), float(y)) for x, y in points.tolist())
