"""What is taught and who learns it: a subject's latents and captions, and networks that are lent to be taught.

The networks are a copy of their own, under keys that nothing else lends; their weights are never touched. What is
learned lies beside them and is put on by hooks, as it will be when the adapter is worn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from pipelines.errors import StudioError
from pipelines.models import ModelSpec
from pipelines.types import Cond

if TYPE_CHECKING:
    from pipelines.memory import Memory

MANY = 100_000_000  # weights of a network whose maps are computed twice rather than kept
PLAIN = ("a {}", "a picture of a {}", "a photo of a {}", "an image of a {}", "a close up of a {}", "{}")


@dataclass(frozen=True, eq=False)
class Subject:
    """Latents (n, C, h, w) of pictures with `captions`, one or more for each, in which {} is the subject; `prior`
    (m, C, h, w) are of pictures that the model painted of `kinds`, one prompt each. All on the device."""

    spec: ModelSpec
    memory: Memory
    word: str
    kind: str
    phrase: str  # what stands for the subject in prompts: the word, and the kind where the method has it said
    steps: int
    latents: Tensor
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
            yield net
        finally:
            if thrifty:
                net.disable_gradient_checkpointing()


def detached(cond: Cond) -> Cond:
    """The same condition in tensors of its own, which gradients may flow through."""
    extras = {name: each.detach().clone() for name, each in cond.extras.items()}
    return replace(cond, tokens=cond.tokens.detach().clone(), fill=cond.fill.detach().clone(), extras=extras)


@dataclass(frozen=True)
class Lot:
    """One thing to look at: latents (1, C, h, w), noise like them, their noise level (), and which picture it is."""

    latents: Tensor
    noise: Tensor
    sigma: Tensor
    index: int
    share: float  # [0, 1), for whatever else is drawn


def lots(subject: Subject, latents: Tensor, count: int, step: int, chance: torch.Generator) -> Iterator[Lot]:
    """`count` pictures in turn, each in a new order every time round, at noise levels spread evenly over the training
    steps of the checkpoint. The place in the pictures follows from the step."""
    levels = subject.spec.table()
    spread = (torch.arange(count) + torch.rand(count, generator=chance)) / count
    for k in range(count):
        turn, place = divmod(step * count + k, len(latents))
        order = torch.randperm(len(latents), generator=torch.Generator().manual_seed(subject.seed + turn))
        index = int(order[place])
        share, flip = torch.rand(2, generator=chance).tolist()
        each = latents[index : index + 1]
        if subject.mirrored and flip < 0.5:
            each = each.flip(-1)
        noise = torch.randn(each.shape, generator=chance).to(each)
        # a copy, for the table may have been made in inference mode, whose tensors no graph takes
        sigma = levels[int(spread[k] * len(levels))].clone().to(each)
        yield Lot(each, noise, sigma, index, share)


def error(subject: Subject, predict: Any, lot: Lot, cond: Cond) -> Tensor:
    """The squared error of the velocity of one picture's path, whatever the network answers.

    In x0 it weighs (alpha^2 + sigma^2) / sigma^2: v of Salimans & Ho 2022 (arXiv:2202.00512) where alpha is 1.
    """
    spec, sigma = subject.spec, lot.sigma
    x = spec.noised(lot.latents, lot.noise, sigma)
    (denoised,) = predict(x, sigma, [cond])
    weight = (spec.alpha(sigma) ** 2 + sigma**2) / sigma**2
    return (denoised - lot.latents).square().mean() * weight
