"""Low-rank weights that learn: which layers they stand beside, what a step asks of them, how a file holds them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn

from pipelines.models.lora import Gain, Lora, LowRank, Worn, patched
from pipelines.models.lora_layouts import peft_settings
from pipelines.painting import encoded
from pipelines.pupil import Lot, Subject, asked, detached, errors, lots, said, whole
from pipelines.types import Cond

ATTENTION = r"\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)$"
REST = r"\.(ff(_context)?\.net\.(0\.proj|2)|proj_in|proj_out|conv[12]|conv_shortcut|time_emb_proj)$"
RESIDUALS = re.compile(
    r"\.attentions\.\d+\.proj_out$|^\.(single_transformer_blocks\.\d+\.proj_out|transformer_blocks\.\d+\.ff\.net\.2)$|^\.transformer_blocks\.\d+\.ff\.conv_point$"
)
WIDE = re.compile(rf"{RESIDUALS.pattern}|\.resnets\.\d+\.conv2$")
LAYERS = re.compile(f"{ATTENTION}|{REST}")


def layers_named(net: nn.Module, wanted: re.Pattern[str]) -> dict[str, Any]:
    """The linear and convolutional layers of a network whose dotted names are wanted."""
    kinds = (nn.Linear, nn.Conv2d)
    return {name: each for name, each in net.named_modules() if isinstance(each, kinds) and wanted.search(f".{name}")}


def low_ranks(net: nn.Module, wanted: re.Pattern[str], rank: int, seed: int) -> dict[str, LowRank]:
    """Changes that change nothing yet, for the layers of a network whose dotted names are wanted: down drawn, up zero.

    Hu et al. 2021, Section 4.1 (arXiv:2106.09685).
    """
    chance = torch.Generator().manual_seed(seed)
    made: dict[str, LowRank] = {}
    for name, layer in layers_named(net, wanted).items():
        rows, columns, *kernel = layer.weight.shape
        least = min(rank, rows, columns)
        bound = (columns * (kernel[0] * kernel[1] if kernel else 1)) ** -0.5
        down = torch.empty(least, columns, *kernel).uniform_(-bound, bound, generator=chance)
        up = torch.zeros(rows, least, *(1 for _ in kernel))
        made[name] = LowRank(down, up, 1.0, None).to(layer.weight.device)
    return made


def named(layers: dict[str, LowRank]) -> dict[str, Tensor]:
    """Their weights as peft names them."""
    halves = ((f"{name}.lora_{half}.weight", each) for name, low in layers.items() for half, each in halves_of(low))
    return dict(halves)


def halves_of(low: LowRank) -> tuple[tuple[str, Tensor], ...]:
    """Down and up, by peft's letters."""
    return ("A", low.down), ("B", low.up)


def place_of(net: nn.Module) -> str:
    """What diffusers calls a painter in files of adapters."""
    return "unet" if hasattr(net, "down_blocks") else "transformer"


def as_lora(layers: Mapping[str, Gain]) -> Lora:
    """The same as it is worn."""
    return Lora({("net", name.replace(".", "_")): low for name, low in layers.items()})


def told(net: nn.Module, layers: dict[str, LowRank]) -> dict[str, str]:
    """What peft reads beside the weights."""
    return peft_settings(place_of(net), {name: len(low.down) for name, low in layers.items()})


@dataclass(eq=False)
class LoraPupil:
    """Low-rank weights beside the painter's layers, taught by DreamBooth's two losses."""

    subject: Subject
    prior: float
    layers: dict[str, LowRank]
    notes: dict[str, str]
    start: str
    usual: float = 13.0  # over width^1.5: 5e-3 for Pocket, where 1.5e-2 led nowhere, and 3e-4 for SD 1.5
    known: dict[str, Cond] = field(default_factory=dict)
    net: Any = None

    @classmethod
    def starting(cls, subject: Subject, rank: int, prior: float, wanted: re.Pattern[str] = LAYERS) -> Self:
        """One that has learned nothing yet."""
        with subject.memory.use(subject.spec.net) as net:
            layers = low_ranks(net, wanted, rank, subject.seed)
            return cls(subject, prior, layers, told(net, layers), place_of(net))

    @property
    def worn(self) -> Mapping[str, Gain]:
        """What lies on the painter, by the layers' dotted names."""
        return self.layers

    @property
    def weights(self) -> dict[str, Tensor]:
        """What is learned, float32, by peft's names."""
        return named(self.layers)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """The painter with what is learned on it, and every caption read, until the block is left."""
        subject = self.subject
        for caption in {each for row in subject.captions for each in row}:
            self.read(said(caption, subject.phrase))
        for prompt in subject.kinds:
            self.read(prompt)
        with self.painter():
            yield

    @contextmanager
    def painter(self) -> Iterator[None]:
        """The painter alone, with what is learned on it, until the block is left."""
        subject = self.subject
        with whole(subject.spec, subject.memory) as net:
            self.net = net
            with patched(net, "net", [Worn(subject.word, as_lora(self.worn), 1.0)], subject.spec.title):
                yield
        self.net = None

    def losses(self, chance: torch.Generator, step: int) -> Iterator[Tensor]:
        """The subject's pictures under its word, and one that the model painted under its kind."""
        subject = self.subject
        wanted = [
            asked(subject, lot, self.read(self.caption(lot)), 1 / subject.batch)
            for lot in lots(subject, subject.latents, subject.batch, step, chance, subject.counts)
        ]
        if self.prior and len(subject.prior):
            wanted += [
                asked(subject, lot, self.read(subject.kinds[lot.index]), self.prior / subject.batch)
                for lot in lots(subject, subject.prior, 1, step, chance)
            ]
        yield from errors(subject, subject.spec.predictor(self.net), wanted)

    def caption(self, lot: Lot) -> str:
        """What is said of a picture this time."""
        row = self.subject.captions[lot.index]
        return said(row[int(lot.share * len(row))], self.subject.phrase)

    def read(self, prompt: str, negative: bool = False) -> Cond:
        """A prompt as the networks read it; each is read once. Negative ones are not learned from."""
        if negative:
            return detached(encoded(self.subject.spec, self.subject.memory, prompt, True))
        if prompt not in self.known:
            self.known[prompt] = detached(encoded(self.subject.spec, self.subject.memory, prompt))
        return self.known[prompt]

    def tensors(self) -> dict[str, Tensor]:
        """What is learned, as an adapter file holds it."""
        return {f"{self.start}.{name}": each for name, each in named(self.layers).items()}

    def rate(self) -> float:
        """How far a step goes where nobody says: the wider the network, the shorter. Yang et al. 2022
        (arXiv:2203.03466)."""
        return self.usual / self.subject.spec.net.width**1.5
