"""The frozen teacher, its lessons and its answers. Knows no optimiser, no file and no command line."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pipelines.training.adapter import load_adapter, make_factors, merged
from pipelines.training.consistency import (
    Estimate,
    Kind,
    Lesson,
    Path,
    boundary,
    draw_steps,
    draw_tops,
    endpoint,
    guided,
    segment_start,
)  # fmt: skip
from pipelines.training.examples import Examples, tokenize


@dataclass(frozen=True)
class Settings:
    """One distillation. `minutes` or `steps` ends it, whichever comes first; the rate falls to zero on that way."""

    kind: Kind
    model: File
    out: File
    run: File
    minutes: float = 10.0
    steps: int = 1_000_000
    batch: int = 64
    rank: int = 24
    rate: float = 1e-3
    scale: tuple[float, float] = (5.0, 5.0)  # the guidance that is learned, drawn evenly between the two
    skip: int = 20  # of a schedule of 1000: the teacher walks as with 50 steps
    segments: tuple[int, ...] = (8, 4, 2, 1)  # the k-th has k shares of the time; not of `lcm` and `guidance`
    moves: int = 4  # `progressive` only: the teacher's steps that become one
    teacher: File | None = None  # an adapter that the teacher wears; its guidance is within
    held_out: int = 64
    check_every: int = 100
    start: File | None = None
    precision: str = ""  # of products, `bf16` or `fp32`; what suits the device if not given
    seed: int = 0


class Classroom:
    """A frozen teacher and the examples, on one device; hands out lessons and answers."""

    def __init__(self, settings: Settings, pipe: Any, examples: Examples) -> None:
        self.settings, self.pipe, self.device = settings, pipe, pipe.unet.device
        self.net: nn.Module = pipe.unet.eval().requires_grad_(False)
        pipe.text_encoder.requires_grad_(False)
        scheduler = pipe.scheduler
        self.path = Path.of(scheduler.alphas_cumprod.to(self.device), scheduler.config.prediction_type)
        learned, held_out = examples.split(settings.held_out)
        self.learned = Examples(learned.latents.to(self.device), learned.tokens.to(self.device))
        self.held_out = Examples(held_out.latents.to(self.device), held_out.tokens.to(self.device))
        self.uncond = self.states(tokenize(pipe, [""]).to(self.device))
        self.teacher = self.estimate(self.worn())

    @torch.no_grad()
    def states(self, tokens: Tensor) -> Tensor:
        """The text encoder's states of tokens (B, L): (B, L, D)."""
        with self.mixed():
            states: Tensor = self.pipe.text_encoder(tokens)[0]
        return states.float()

    def worn(self) -> dict[str, Tensor]:
        """The weights that the teacher's adapter changes, if it wears one."""
        path = self.settings.teacher
        if path is None:
            return {}
        return merged(self.net, load_adapter(path, make_factors(self.net, self.settings.rank, 0)))

    def mixed(self) -> torch.autocast:
        """bf16 products on an accelerator and where they were asked for; else the processor computes in fp32, which is
        faster for small networks unless it knows bf16."""
        half = self.settings.precision == "bf16" or (not self.settings.precision and self.device.type != "cpu")
        return torch.autocast(self.device.type, torch.bfloat16, enabled=half)

    def estimate(self, weights: Mapping[str, Tensor]) -> Estimate:
        """The network with some weights replaced, as an estimate of x0."""

        def x0(x: Tensor, t: Tensor, states: Tensor) -> Tensor:
            with self.mixed():
                output = functional_call(self.net, dict(weights), (x, t, states)).sample
            return self.path.x0(output.float(), x, t)

        return x0

    def lesson(self, number: int, segments: int) -> Lesson:
        """The batch of step `number`, the same in every run with this seed."""
        generator = torch.Generator(self.device).manual_seed(self.settings.seed * 1_000_003 + number)
        size, steps = self.settings.batch, len(self.path.alphas)
        rows = torch.randint(len(self.learned.tokens), (size,), generator=generator, device=self.device)
        if self.settings.kind == "progressive":
            t = draw_tops(size, steps, segments, generator)
        else:
            t = draw_steps(size, steps, self.settings.skip, generator)
        s = segment_start(t, segments, steps)
        return self._lesson(self.learned, rows, t, s, generator)

    def examination(self) -> Lesson:
        """The held-out examples at evenly spread steps, always the same; for `progressive` those of its last walk."""
        generator = torch.Generator(self.device).manual_seed(2**31)
        rows, steps = torch.arange(len(self.held_out.tokens), device=self.device), len(self.path.alphas)
        if self.settings.kind == "progressive":
            last = self.settings.segments[-1]
            t = draw_tops(len(rows), steps, last, generator)
            return self._lesson(self.held_out, rows, t, segment_start(t, last, steps), generator)
        t = torch.linspace(0.1, 1, len(rows), device=self.device) * (steps - 1)
        return self._lesson(self.held_out, rows, t.long(), torch.zeros_like(rows), generator)

    def _lesson(self, source: Examples, rows: Tensor, t: Tensor, s: Tensor, generator: torch.Generator) -> Lesson:
        x0 = source.latents[rows].float()
        noise = torch.randn(x0.shape, generator=generator, device=self.device)
        low, high = (1.0, 1.0) if self.settings.teacher else self.settings.scale
        scale = torch.rand((len(rows), 1, 1, 1), generator=generator, device=self.device) * (high - low) + low
        return Lesson(self.path.noised(x0, noise, t), t, s, self.states(source.tokens[rows]), self.uncond, scale)


def answer(kind: Kind, estimate: Estimate, lesson: Lesson) -> Tensor:
    """The student's x0, for `lcm` through the consistency function's boundary condition."""
    x0 = estimate(lesson.x, lesson.t, lesson.cond)
    return boundary(lesson.x, x0, lesson.t) if kind == "lcm" else x0


@torch.no_grad()
def truth(room: Classroom, lesson: Lesson) -> Tensor:
    """What the held-out answers should be, from the teacher alone: its guided x0, or the x0 that leads where
    its steps arrive."""
    if room.settings.kind == "guidance":
        return guided(room.teacher, lesson.x, lesson.t, lesson.cond, lesson.uncond, lesson.scale)
    if room.settings.kind == "progressive":
        return room.path.aim(
            endpoint(room.path, room.teacher, lesson, room.settings.moves), lesson.x, lesson.t, lesson.s
        )
    return endpoint(room.path, room.teacher, lesson, moves=25)
