"""Two painters that learn a subject from each other: one of many steps, and the same under a few-step adapter.

What is learned lies on both. It knows no file and no event.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipelines.lessons import LoraPupil
from pipelines.models.adapters import adapters
from pipelines.models.lora import Worn, patched
from pipelines.pupil import Lot, lots
from pipelines.types import Cond


@dataclass(eq=False)
class EchoPupil(LoraPupil):
    """DreamBooth's losses for the many-step painter, then the few-step painter's, and the echo between the two."""

    fast: str = ""
    looks: int = 4
    echo: float = 0.5
    lora: Any = None

    @contextmanager
    def lent(self) -> Iterator[None]:
        """The painter with what is learned on it, and the few-step adapter beside, until the block is left.

        Raises UnknownName, BadCheckpoint where there is no such adapter for this model.
        """
        spec = self.subject.spec
        with ExitStack() as stack:
            if self.fast:
                adapters[self.fast].refuse(spec.family, spec.title)
                self.lora = stack.enter_context(self.subject.memory.use(adapters[self.fast].part))
            stack.enter_context(super().lent())
            yield
        self.lora = None

    def losses(self, chance: torch.Generator, step: int) -> Iterator[Tensor]:
        """The many-step painter's, one by one; then the few-step painter's, each yielded while it is the painter."""
        yield from super().losses(chance, step)
        subject, predict = self.subject, self.subject.spec.predictor(self.net)
        levels = subject.spec.own(self.looks)[:-1].clone()
        for lot in lots(subject, subject.latents, subject.batch, step, chance):
            sigma = levels[int(lot.share * len(levels))].to(lot.latents)
            cond = self.read(self.caption(lot))
            x = subject.spec.noised(lot.latents, lot.noise, sigma)
            with torch.no_grad():
                (believed,) = predict(x, sigma, [cond])
            aim = lot.latents.lerp(believed, self.echo / (1 + self.echo))
            with self.few_steps():
                (painted,) = predict(x, sigma, [cond])
                yield (painted - aim).square().mean() / subject.batch
            if self.echo:
                yield self.echo * self.heard(predict, lot, painted.detach(), cond) / subject.batch

    def heard(self, predict: Any, lot: Lot, painted: Tensor, cond: Cond) -> Tensor:
        """How far the many-step painter is from what the few-step painter made, once that is noised again."""
        spec, sigma = self.subject.spec, lot.sigma
        (denoised,) = predict(spec.noised(painted, lot.noise, sigma), sigma, [cond])
        weight = (spec.alpha(sigma) ** 2 + sigma**2) / sigma**2
        return (denoised - painted).square().mean() * weight * nearness(painted, lot.latents)

    @contextmanager
    def few_steps(self) -> Iterator[None]:
        """The painter is the few-step painter until the block is left."""
        worn = [Worn(self.fast, self.lora, 1.0)] if self.lora is not None else []
        with patched(self.net, "net", worn, self.subject.spec.title):
            yield


def nearness(painted: Tensor, latents: Tensor) -> Tensor:
    """How far an echo can be trusted, 0 to 1: the share of the picture's variance that what was painted explains."""
    missed = (painted - latents).square().mean() / latents.var().clamp(min=1e-6)
    return (1 - missed).clamp(min=0)
