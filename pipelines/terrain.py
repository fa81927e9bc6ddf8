"""What a search explores: walks from noise to picture, what each end is worth, and what all of it has cost.

Every piece of the work is kept by what went into it, so that a search that was stopped goes on where it was: run again,
it comes by the same pieces and pays only for those that are missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Hashable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pipelines.samplers import Path, Sampler
from pipelines.samplers.ddim import split
from pipelines.types import Step

if TYPE_CHECKING:
    from torch import Generator as Chance
    from torch import Tensor

    from pipelines.types import Denoise, Sampling

T = TypeVar("T")
Exploring = Generator[Step, None, T]
Noise = Callable[["Tensor"], "Tensor"]
ETA = 0.4  # of the noise of the reverse process; with all of it Pocket paints worse in 20 guided steps than with none
STRIDE = 16  # between the seeds of one search: pictures of one request, 16 at most, share none


class Meter:
    """How many estimates of x0 a search has cost: by a tally that only grows, and by what earlier runs paid for."""

    def __init__(self, tally: Callable[[], int]) -> None:
        self._tally, self._begun = tally, tally()
        self.resumed = 0

    @property
    def fresh(self) -> int:
        """What this run has cost."""
        return self._tally() - self._begun

    @property
    def spent(self) -> int:
        """What the search has cost in all runs."""
        return self.fresh + self.resumed


@dataclass(frozen=True, eq=False)
class Try:
    """A finished picture: x0 latents (1, C, h, w), its score by each verifier (V,), and where it is the plain picture
    of a seed, that seed's number in the search."""

    x0: Tensor
    scores: Tensor
    number: int | None = None


@dataclass(eq=False)
class Terrain:
    """`opened` gives a guided estimate for one walk, `judge` (x0) -> scores (V,), `source` the noise of number k.

    Costs are in estimates: `whole` of a walk by `sampler`, `call` of one guided estimate, `judging` of one picture.
    """

    sigmas: Tensor  # (n + 1,), falling, ends in 0
    template: Tensor  # (1, C, h, w), of any values
    alpha: Callable[[Tensor], Tensor]
    start: Callable[[Tensor, Tensor], Tensor]  # (noise, sigma) -> x
    opened: Callable[[], AbstractContextManager[Denoise]]
    judge: Callable[[Tensor], Tensor]
    source: Callable[[int], Noise]
    chance: Callable[[int], Chance]  # for what is drawn beside noise
    sampler: Sampler
    meter: Meter
    budget: int
    whole: int
    call: int
    judging: int
    log: MutableMapping[Hashable, tuple[Any, int]] = field(default_factory=dict)
    tries: list[Try] = field(default_factory=list)
    paid: set[Hashable] = field(default_factory=set)  # the pieces that this run has counted

    @property
    def steps(self) -> int:
        """How many steps a walk has."""
        return len(self.sigmas) - 1

    def affords(self, cost: int) -> bool:
        """Whether so many estimates are left."""
        return self.meter.spent + cost <= self.budget

    def painted(self, number: int) -> Exploring[Try]:
        """The plain picture of a seed, judged and kept."""
        source = self.source(number)
        noise = source(self.template)
        return (yield from self.tried(noise, source, number, number))

    def tried(self, noise: Tensor, source: Noise, stream: int, number: int | None = None) -> Exploring[Try]:
        """The picture that the request's sampler paints from `noise`, judged and kept; `stream` names `source`."""
        x = self.start(noise, self.sigmas[0])
        x0 = yield from self._piece(("whole", digest(x), stream), lambda: self._walk(x, source))
        return self.keep(x0, self.scores(x0), number)

    def segment(
        self, x: Tensor, first: int, last: int, stream: int, known: Tensor | None = None, eta: float = ETA
    ) -> Exploring[tuple[Tensor, Tensor]]:
        """x from level `first` down to `last` by the reverse process, with fresh noise; and x0 as it looks from there.

        `known` is x0 as it looks from `first`, where that was estimated already. DDIM's steps with some
        fresh noise, which keep every path's own distribution at every level: Song et al. 2021, Equation 12
        (arXiv:2010.02502).
        """
        key = ("segment", digest(x), first, last, stream, known is None, eta)
        return (yield from self._piece(key, lambda: self._segment(x, first, last, self.source(stream), known, eta)))

    def look(self, x: Tensor, level: int) -> Exploring[Tensor]:
        """x0 as it looks from x at a level."""
        return (yield from self._piece(("look", digest(x), level), lambda: self._look(x, level)))

    def segment_cost(self, first: int, last: int, known: bool) -> int:
        """What `segment` costs."""
        return (last - first - known + (last < self.steps)) * self.call

    def renoised(self, x: Tensor, at: int, to: int, noise: Tensor) -> Tensor:
        """x at one level carried up to a noisier one."""
        ratio = self.alpha(self.sigmas[to]) / self.alpha(self.sigmas[at])
        rest = (self.sigmas[to] ** 2 - (ratio * self.sigmas[at]) ** 2).clamp(min=0).sqrt()
        return ratio * x + rest * noise

    def stepped(self, x: Tensor, denoised: Tensor, level: int, source: Noise, eta: float = ETA) -> Tensor:
        """One step of the reverse process, from `level` to the next."""
        sigma, sigma_next = self.sigmas[level], self.sigmas[level + 1]
        alpha = self.alpha(sigma_next)
        down, up = split(sigma, sigma_next, eta, Path(self.alpha))
        x = alpha * denoised + down * (x - self.alpha(sigma) * denoised) / sigma
        return x + up * source(x) if up > 0 else x

    def scores(self, x0: Tensor) -> Tensor:
        """What every verifier says of a picture's x0 latents, (V,)."""
        key = ("judged", digest(x0))
        if key not in self.log:
            before = self.meter.spent
            scores = self.judge(x0)
            self._noted(key, scores, before)
            return scores
        return self._recalled(key)  # type: ignore[no-any-return]

    def keep(self, x0: Tensor, scores: Tensor, number: int | None = None) -> Try:
        """Note a finished picture."""
        self.tries.append(Try(x0, scores, number))
        return self.tries[-1]

    def best(self) -> Try:
        """The best of what was finished so far, the earliest of equals."""
        return self.tries[best_of([each.scores for each in self.tries])]

    def _walk(self, x: Tensor, source: Noise) -> Sampling:
        with self.opened() as denoise:
            return (yield from self.sampler(denoise, x, self.sigmas, Path(self.alpha, source)))

    def _segment(
        self, x: Tensor, first: int, last: int, source: Noise, known: Tensor | None, eta: float
    ) -> Exploring[tuple[Tensor, Tensor]]:
        with self.opened() as denoise:
            for level in range(first, last):
                denoised = known if known is not None and level == first else denoise(x, self.sigmas[level])
                yield Step(level, denoised)
                x = self.stepped(x, denoised, level, source, eta)
            seen = x if last == self.steps else denoise(x, self.sigmas[last])
        return x, seen

    def _look(self, x: Tensor, level: int) -> Exploring[Tensor]:
        with self.opened() as denoise:
            denoised = denoise(x, self.sigmas[level])
        yield Step(level, denoised)
        return denoised

    def _piece(self, key: Hashable, make: Callable[[], Exploring[T]]) -> Exploring[T]:
        if key in self.log:
            return self._recalled(key)  # type: ignore[no-any-return]
        before = self.meter.spent
        made = yield from make()
        self._noted(key, made, before)
        return made

    def _recalled(self, key: Hashable) -> Any:
        made, cost = self.log[key]
        self.meter.resumed += 0 if key in self.paid else cost
        self.paid.add(key)
        return made

    def _noted(self, key: Hashable, made: Any, before: int) -> None:
        self.log[key] = made, self.meter.spent - before
        self.paid.add(key)


def digest(x: Tensor) -> str:
    """What tells some latents from all others."""
    from pipelines.device import on_host

    return hashlib.sha256(on_host(x).contiguous().float().numpy().tobytes()).hexdigest()


def merged(scores: Sequence[Tensor]) -> Tensor:
    """One number for each of several pictures, (n,), from their scores (V,): of one verifier its own, of several the
    mean rank, which needs no common scale. Ma et al. 2025, Section 4.2 (arXiv:2501.09732)."""
    import torch

    table = torch.stack(list(scores)).double()  # (n, V)
    if table.shape[1] == 1:
        return table[:, 0]
    below = (table[:, None] > table[None]).sum(1) + 0.5 * (table[:, None] == table[None]).sum(1)
    return below.double().mean(1)


def best_of(scores: Sequence[Tensor]) -> int:
    """Which of several pictures is the best, the first of equals."""
    return int(merged(scores).argmax())


@contextmanager
def always(denoise: Denoise) -> Iterator[Denoise]:
    """The same estimate for every walk, as an exact density gives it."""
    yield denoise
