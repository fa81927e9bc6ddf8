"""Two painters that learn a subject from each other: one of many steps, and the same under a few-step adapter.

What is learned lies on both. It knows no file and no event.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pipelines.lessons import LoraPupil
from pipelines.models import ModelSpec
from pipelines.models.adapters import adapters
from pipelines.models.lora import Worn, patched
from pipelines.pupil import Asked, Lot, asked, believed, errors, lots
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
            fast = self.fast or own_fast(spec, self.looks)
            if fast:
                adapters[fast].refuse(spec.family, spec.title)
                self.lora = stack.enter_context(self.subject.memory.use(adapters[fast].part))
            stack.enter_context(super().lent())
            yield
        self.lora = None

    def losses(self, chance: torch.Generator, step: int) -> Iterator[Tensor]:
        """The many-step painter's, one by one; then the few-step painter's, each yielded while it is the painter."""
        yield from super().losses(chance, step)
        subject, predict = self.subject, self.subject.spec.predictor(self.net)
        spec, levels = subject.spec, subject.spec.own(self.looks)[:-1].clone()
        drawn = list(lots(subject, subject.latents, max(1, subject.batch // 2), step, chance, subject.counts))
        conds = [self.read(self.caption(lot)) for lot in drawn]
        rows = []
        for lot, cond in zip(drawn, conds, strict=True):
            sigma = levels[int(lot.share * len(levels))].to(lot.latents)
            x = spec.noised(lot.latents, lot.noise, sigma)
            rows.append(Asked(x, sigma, cond, lot.latents, lot.counts, 1 / len(drawn)))
        own = believed(subject, predict, rows)
        mixed = self.echo / (1 + self.echo)
        rows = [replace(each, aim=each.aim.lerp(clean, mixed)) for each, clean in zip(rows, own, strict=True)]
        with self.few_steps():
            yield from errors(subject, predict, rows)
            painted = believed(subject, predict, rows) if self.echo else []
        if self.echo:
            heard = [
                self.heard(lot, clean, cond, self.echo / len(drawn))
                for lot, clean, cond in zip(drawn, painted, conds, strict=True)
            ]
            yield from errors(subject, predict, heard)

    def heard(self, lot: Lot, painted: Tensor, cond: Cond, share: float) -> Asked:
        """What the few-step painter made is asked of the many-step painter, once it is noised again."""
        trusted = float(nearness(painted, lot.latents))
        return asked(self.subject, replace(lot, latents=painted), cond, share * trusted)

    @contextmanager
    def few_steps(self) -> Iterator[None]:
        """The painter is the few-step painter until the block is left."""
        worn = [Worn(self.fast, self.lora, 1.0)] if self.lora is not None else []
        with patched(self.net, "net", worn, self.subject.spec.title):
            yield


def own_fast(spec: ModelSpec, steps: int) -> str:
    """The adapter that one of the model's presets wears, of the number of steps next to this; empty without any."""
    worn = [each.values for each in spec.presets if each.values.get("adapters")]
    if not worn:
        return ""
    return str(min(worn, key=lambda each: abs(each["steps"] - steps))["adapters"][0]["name"])


def nearness(painted: Tensor, latents: Tensor) -> Tensor:
    """How far an echo can be trusted, 0 to 1: the share of the picture's variance that what was painted explains."""
    missed = (painted - latents).square().mean() / latents.var().clamp(min=1e-6)
    return (1 - missed).clamp(min=0)
