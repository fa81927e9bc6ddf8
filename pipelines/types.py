"""The three seams: predict -> denoise -> sample. Everything a method sees of a model passes through these types.

Like every module that the page reads, it leaves torch to the functions that run: the page is up before torch is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.memory import Memory
    from pipelines.models import ModelSpec
    from pipelines.shelf import Shelf

Predict = Callable[["Tensor", "Tensor", Sequence["Cond"]], list["Tensor"]]  # (x, sigma, conditions) -> an x0 for each
Guide = Callable[[Predict, "Tensor", "Tensor", "Cond", "Cond"], "Tensor"]  # (predict, x, sigma, cond, uncond) -> one x0
Denoise = Callable[["Tensor", "Tensor"], "Tensor"]  # (x, sigma) -> one x0
Constrain = Callable[["Tensor", "Tensor", "Tensor"], "Tensor"]  # (x0, x, sigma) -> x0
Sampling = Generator["Step", None, "Tensor"]


@dataclass(frozen=True, eq=False)
class Cond:
    """What a prompt became: `tokens` (1, T, D); `fill` (1, 1, D) lengthens it to another's T; `extras` by name.

    `parts` are prompts joined by AND and NOT with their weights, for guidance that composes; below 0 is NOT.
    """

    tokens: Tensor
    fill: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)
    parts: tuple[tuple[float, Cond], ...] = ()

    def lengthened(self, length: int) -> Tensor:
        """Tokens (1, length, D), filled up where the prompt is shorter."""
        import torch

        missing = length - self.tokens.shape[1]
        return torch.cat([self.tokens, self.fill.expand(1, missing, -1)], 1) if missing > 0 else self.tokens


def exploding(sigma: Tensor) -> Tensor:
    """x = x0 + sigma eps: the clean part is never scaled. The path of eps and v models."""
    return sigma * 0 + 1


def straight(sigma: Tensor) -> Tensor:
    """x = (1 - sigma) x0 + sigma eps. The path of flow models."""
    return 1 - sigma


def fresh(like: Tensor) -> Tensor:
    """Standard normal noise from torch's own generator, shaped like `like`."""
    import torch

    return torch.randn_like(like)


@dataclass(frozen=True)
class Path:
    """How clean picture and noise mix, x = alpha(sigma) x0 + sigma eps, and where fresh noise comes from.

    `noise` gives standard normal noise shaped like its argument; stochastic samplers draw from nothing else.
    """

    alpha: Callable[[Tensor], Tensor] = exploding
    noise: Callable[[Tensor], Tensor] = fresh

    def log_snr(self, sigma: Tensor) -> Tensor:
        """lambda = log(alpha / sigma), half the log signal-to-noise ratio; infinite at sigma 0."""
        return (self.alpha(sigma) / sigma).log()


def tallied(predict: Predict, memory: Memory) -> Predict:
    """The same estimates, tallied in `memory.estimates`: one for each condition and each picture of x."""

    def tallying(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
        memory.estimates += len(conds) * x.shape[0]
        return predict(x, sigma, conds)

    return tallying


@dataclass(frozen=True)
class Step:
    """One step of a sampler: its index from 0, and the x0 it believed in, (B, C, H, W).

    `points` are where what is pulled has come to, where a walk knows.
    """

    index: int
    denoised: Tensor
    points: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Run:
    """What an accelerator or a guidance may know of the run that it is part of."""

    net: Any
    sigmas: Tensor  # (steps + 1,), falling, ends in 0
    memory: Memory
    spec: ModelSpec | None = None  # the checkpoint that the network is of
    shelf: Shelf | None = None  # of the pictures that knobs name
    prompt: str = ""

    def step(self, sigma: Tensor) -> int:
        """Which step of the walk a noise level belongs to, from 0; a second look within a step belongs to it."""
        return max(0, int((self.sigmas[:-1] >= sigma * (1 - 1e-5)).sum()) - 1)
