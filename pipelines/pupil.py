"""What is taught and who learns it: a subject's latents and captions, and networks that are lent to be taught.

The networks are a copy of their own, under keys that nothing else lends; their weights are never touched. What is
learned lies beside them and is put on by hooks, as it will be when the adapter is worn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from pipelines.errors import StudioError
from pipelines.models import ModelSpec
from pipelines.types import Cond

if TYPE_CHECKING:
    from pipelines.memory import Memory

SMALL = 50_000_000  # weights of a network that looks at all pictures of a step in one pass; a large one in many
CENTRE, SPREAD = 0.6, 1.6  # of the normal law of log sigma / alpha; Karras et al. 2022, Section 5 (arXiv:2206.00364)
MANY = 100_000_000  # weights of a network whose maps are computed twice rather than kept
PLAIN = ("a {}", "a picture of a {}", "a photo of a {}", "an image of a {}", "a close up of a {}", "{}")


@dataclass(frozen=True, eq=False)
class Subject:
    """Latents (n, C, h, w) of pictures with `captions`, one or more for each, in which {} is the subject, and how much
    each place of them counts, `counts` (n, 1, h, w), 1 in the mean; `prior` (m, C, h, w) are of pictures that the model
    painted of `kinds`, one prompt each. All on the device."""

    spec: ModelSpec
    memory: Memory
    word: str
    kind: str
    phrase: str  # what stands for the subject in prompts: the word, and the kind where the method has it said
    steps: int
    latents: Tensor
    counts: Tensor
    captions: tuple[tuple[str, ...], ...]
    prior: Tensor
    kinds: tuple[str, ...]
    mirrored: bool
    batch: int
    seed: int


class Pupil(Protocol):
    """Somebody who learns: `weights` are changed by gradients, `lent` lends the networks to learn with."""

    subject: Subject

    @property
    def weights(self) -> dict[str, Tensor]:
        """What is learned, float32, by name."""

    def lent(self) -> AbstractContextManager[Any]:
        """The networks, with what is learned so far on them, until the block is left."""

    def losses(self, chance: torch.Generator, step: int) -> Iterator[Tensor]:
        """The losses of one step, each with its graph, whose sum is to fall; within `lent`."""

    def read(self, prompt: str, negative: bool = False) -> Cond:
        """A prompt, or a negative one, as the networks read it with what is learned so far; within `lent`."""

    def tensors(self) -> dict[str, Tensor]:
        """What is learned, as an adapter file holds it."""

    def rate(self) -> float:
        """How far a step goes where nobody says."""


def private(spec: ModelSpec) -> ModelSpec:
    """A checkpoint whose painter is a copy of its own, to be taught with."""
    return replace(spec, net=replace(spec.net, key=f"{spec.net.key} taught"), preview=None)


def said(template: str, phrase: str) -> str:
    """A caption or prompt about a subject, its article with it."""
    text = template.replace("{}", phrase)
    return re.sub(rf"\ba(?= {re.escape(phrase)})", "an", text) if phrase[:1] in "aeiou" else text


@contextmanager
def whole(spec: ModelSpec, memory: Memory) -> Iterator[Any]:
    """The painter, lent to be taught. Raises StudioError where it does not lie whole on the device."""
    with memory.use(spec.net) as net:
        resident = memory.found(spec.net)
        if resident is None or not resident.is_whole:
            raise StudioError(
                f"{spec.title} does not lie whole in memory here, as teaching it needs. Try a smaller one."
            )
        thrifty = spec.net.elements > MANY and hasattr(net, "enable_gradient_checkpointing")
        if thrifty:
            net.enable_gradient_checkpointing()
        try:
            with plainly(net) if spec.net.elements <= SMALL else nullcontext():
                yield net
        finally:
            if thrifty:
                net.disable_gradient_checkpointing()


@contextmanager
def plainly(net: Any) -> Iterator[None]:
    """Attention by plain products until the block is left, which takes a fifth less of a step of Pocket."""
    from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

    usual = getattr(net, "attn_processors", {})
    if not usual or not all(type(each) is AttnProcessor2_0 for each in usual.values()):
        yield
        return
    net.set_attn_processor(AttnProcessor())
    try:
        yield
    finally:
        net.set_attn_processor(usual)


def detached(cond: Cond) -> Cond:
    """The same condition in tensors of its own, which gradients may flow through."""
    extras = {name: each.detach().clone() for name, each in cond.extras.items()}
    return replace(cond, tokens=cond.tokens.detach().clone(), fill=cond.fill.detach().clone(), extras=extras)


@dataclass(frozen=True)
class Lot:
    """One thing to look at: latents (1, C, h, w), noise like them, how much each place counts (1, 1, h, w), its noise
    level (), and which picture it is."""

    latents: Tensor
    noise: Tensor
    counts: Tensor
    sigma: Tensor
    index: int
    share: float  # [0, 1), for whatever else is drawn


def lots(
    subject: Subject, latents: Tensor, count: int, step: int, chance: torch.Generator, counts: Tensor | None = None
) -> Iterator[Lot]:
    """`count` pictures in turn, each in a new order every time round, at noise levels spread over those at which
    things take shape. The place in the pictures follows from the step."""
    levels = subject.spec.table()
    ratios = (levels / subject.spec.alpha(levels)).log()
    spread = (torch.arange(count) + torch.rand(count, generator=chance)) / count
    wanted = CENTRE + SPREAD * torch.special.ndtri(spread.clamp(0.005, 0.995))
    for k in range(count):
        turn, place = divmod(step * count + k, len(latents))
        order = torch.randperm(len(latents), generator=torch.Generator().manual_seed(subject.seed + turn))
        index = int(order[place])
        share, flip = torch.rand(2, generator=chance).tolist()
        each = latents[index : index + 1]
        weight = torch.ones_like(each[:, :1]) if counts is None else counts[index : index + 1]
        if subject.mirrored and flip < 0.5:
            each, weight = each.flip(-1), weight.flip(-1)
        noise = torch.randn(each.shape, generator=chance).to(each)
        # a copy, for the table may have been made in inference mode, whose tensors no graph takes
        at = int(torch.searchsorted(ratios, wanted[k])) if len(levels) > 1 else 0
        sigma = levels[min(at, len(levels) - 1)].clone().to(each)
        yield Lot(each, noise, weight, sigma, index, share)


@dataclass(frozen=True)
class Asked:
    """What is asked of the painter: a picture under noise (1, C, h, w), its level (), the condition, what it should
    answer, how much each place counts, and how much all of it does."""

    x: Tensor
    sigma: Tensor
    cond: Cond
    aim: Tensor
    counts: Tensor
    share: Tensor | float


def asked(subject: Subject, lot: Lot, cond: Cond, share: float) -> Asked:
    """The clean picture is asked for, its squared error weighed as that of the velocity of its path.

    In x0 that is (alpha^2 + sigma^2) / sigma^2: v of Salimans & Ho 2022 (arXiv:2202.00512) where alpha is 1.
    """
    spec, sigma = subject.spec, lot.sigma
    weight = (spec.alpha(sigma) ** 2 + sigma**2) / sigma**2
    return Asked(spec.noised(lot.latents, lot.noise, sigma), sigma, cond, lot.latents, lot.counts, share * weight)


def errors(subject: Subject, predict: Any, wanted: Sequence[Asked]) -> Iterator[Tensor]:
    """The squared errors of all that is asked: a small network answers in one pass, a large one in one for each."""
    for rows in passes(subject, wanted):
        denoised = answered(predict, rows)
        missed = (denoised - torch.cat([each.aim for each in rows])).square()
        each_one = (missed * torch.cat([each.counts for each in rows])).mean((1, 2, 3))
        yield (each_one * torch.stack([torch.as_tensor(each.share).to(each_one) for each in rows])).sum()


def passes(subject: Subject, wanted: Sequence[Asked]) -> list[list[Asked]]:
    """What is asked, by passes of the network."""
    return [list(wanted)] if subject.spec.net.elements <= SMALL else [[each] for each in wanted]


@torch.no_grad()
def believed(subject: Subject, predict: Any, wanted: Sequence[Asked]) -> list[Tensor]:
    """The painter's x0 for each, (1, C, h, w), without a graph."""
    return [row for rows in passes(subject, wanted) for row in answered(predict, rows).chunk(len(rows))]


def answered(predict: Any, rows: Sequence[Asked]) -> Tensor:
    """The painter's x0 for each row, in one pass, (n, C, h, w)."""
    sigma = torch.stack([each.sigma for each in rows]).view(-1, 1, 1, 1)
    (denoised,) = predict(torch.cat([each.x for each in rows]), sigma, [stacked([each.cond for each in rows])])
    return denoised  # type: ignore[no-any-return]


def stacked(conds: Sequence[Cond]) -> Cond:
    """Conditions as one with a row for each; extras of unlike shapes, which no painter reads, are left out."""
    length = max(each.tokens.shape[1] for each in conds)
    first = conds[0].extras
    alike = [name for name in first if len({each.extras[name].shape for each in conds}) == 1]
    extras = {name: torch.cat([each.extras[name] for each in conds]) for name in alike}
    return Cond(torch.cat([each.lengthened(length) for each in conds]), conds[0].fill, extras)
