"""Words that learn: the vectors a word stands for, and where asked low-rank weights that learn after them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from pipelines.adapters import places
from pipelines.errors import BadRequest
from pipelines.lessons import LoraPupil
from pipelines.models.clip_text import ClipText
from pipelines.models.lora_layouts import bundled
from pipelines.pupil import Subject, asked, detached, errors, lots
from pipelines.types import Cond

GAIN = 4.0  # times the rate of low-rank weights at which vectors learn: they are few, and far from where they end
APART = 0.1  # of the start's own size: what is added to it, so that equal vectors can part


@dataclass(eq=False)
class WordPupil(LoraPupil):
    """Vectors for the word in every CLIP encoder of a checkpoint; from step `pivot` on they rest and layers learn."""

    pivot: int = 0
    starts: dict[str, Tensor] = field(default_factory=dict)  # encoder -> (n, D)
    moved: dict[str, Tensor] = field(default_factory=dict)  # what is learned, in units of GAIN
    texts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def coining(cls, subject: Subject, count: int, rank: int, pivot: int) -> Self:
        """One that knows the word as it knows the kind. Raises BadRequest where no encoder takes words."""
        wanted = re.compile(r"(?!)") if rank == 0 else None
        pupil = cls.starting(subject, max(rank, 1), 0.0, *([wanted] if wanted else []))
        pupil.pivot = pivot
        chance = torch.Generator().manual_seed(subject.seed)
        for place, part in zip(places(subject.spec), subject.spec.texts, strict=True):
            with subject.memory.use(part) as text:
                if isinstance(text, ClipText):
                    pupil.starts[place] = start_of(text, subject.kind or "a", count, chance)
        if not pupil.starts:
            raise BadRequest(f"Method: {subject.spec.title} has no encoder that learns words; choose another method.")
        pupil.moved = {place: torch.zeros_like(each) for place, each in pupil.starts.items()}
        return pupil

    @property
    def weights(self) -> dict[str, Tensor]:
        """What is learned, float32, by name."""
        return super().weights | {f"word {place}": each for place, each in self.moved.items()}

    def vectors(self, place: str) -> Tensor:
        """What the word stands for in one encoder, (n, D)."""
        return self.starts[place] + GAIN * self.moved[place]

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Painter and encoders, with what is learned on them, until the block is left."""
        subject = self.subject
        with ExitStack() as stack:
            for place, part in zip(places(subject.spec), subject.spec.texts, strict=True):
                self.texts[place] = stack.enter_context(subject.memory.use(part))
            stack.enter_context(self.painter())
            yield
        self.texts = {}

    def losses(self, chance: torch.Generator, step: int) -> Iterator[Tensor]:
        """The subject's pictures under its word."""
        subject = self.subject
        words = step < self.pivot
        for name, each in self.weights.items():
            each.requires_grad_(name.startswith("word ") == words)
        wanted = [
            asked(subject, lot, self.understood(self.caption(lot), words), 1 / subject.batch)
            for lot in lots(subject, subject.latents, subject.batch, step, chance, subject.counts)
        ]
        yield from errors(subject, subject.spec.predictor(self.net), wanted)

    def understood(self, prompt: str, words: bool) -> Cond:
        """A prompt as the networks read it now; with its graph while words learn, read once when they rest."""
        if words:
            return self.reading(prompt)
        if prompt not in self.known:
            self.known[prompt] = self.read(prompt)
        return self.known[prompt]

    def read(self, prompt: str, negative: bool = False) -> Cond:
        """A prompt as the networks read it with what is learned so far, without a graph."""
        with torch.no_grad():
            return detached(self.reading(prompt, negative))

    def reading(self, prompt: str, negative: bool = False) -> Cond:
        """The same, with its graph."""
        spec, conds = self.subject.spec, []
        for place, words in zip(places(spec), spec.asked(prompt, negative), strict=True):
            text = self.texts[place]
            if place not in self.moved:
                conds.append(text(*words))
                continue
            with text.taught({self.subject.word: self.vectors(place)}):
                conds.append(text(*words))
        return spec.joined(conds, prompt, negative)

    def tensors(self) -> dict[str, Tensor]:
        """What is learned, as an adapter file holds it: vectors bundled with layers."""
        vectors = {place: self.vectors(place) for place in self.moved}
        return super().tensors() | bundled(self.subject.word, vectors)


def start_of(text: ClipText, kind: str, count: int, chance: torch.Generator) -> Tensor:
    """The vectors of a kind's tokens, (count, D) float32, again from the first where there are more to learn."""
    table = text.model.get_input_embeddings().weight
    ids = text.tokenizer(kind, add_special_tokens=False).input_ids or [0]
    start = table[[ids[k % len(ids)] for k in range(count)]].detach().float().clone()
    return start + APART * table.float().std() * torch.randn(start.shape, generator=chance).to(start)
