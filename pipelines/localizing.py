"""Where in a picture a word is, by the network's own cross attention: localized attention-guided sampling.

Ham et al. 2024, Section 3.3 (arXiv:2405.12978): residuals act where the word is looked at, and the rest is the model's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.types import Cond, Predict

Maps = dict[str, dict[Any, Tensor]]  # word -> transformer -> where it is looked at


@dataclass(frozen=True)
class Sought:
    """A word: its token numbers, of a coined word the first of its vectors, and how much of the strongest attention a
    place needs, 0 to 1; 0 acts everywhere in a picture whose prompt has the word."""

    tokens: tuple[int, ...]
    threshold: float


@dataclass
class Attention:
    """What the running pass looks at, for every word that is sought: maps (n, N) by the transformer they are of."""

    sought: Mapping[str, Sought]
    watched: Sequence[Any] = ()
    spots: dict[str, Tensor] = field(default_factory=dict)  # (n, T), 1 where the word's tokens stand
    said: dict[str, Tensor] = field(default_factory=dict)  # (n,), whether the prompt of each row has the word
    maps: Maps = field(default_factory=dict)  # (n, 1, h, w), of this pass or of the one a step before
    level: dict[tuple[Any, ...], Maps] = field(default_factory=dict)  # at this noise level, by what was asked
    before: dict[tuple[Any, ...], Maps] = field(default_factory=dict)  # at the one before
    shape: tuple[int, int] = (1, 1)  # of the latents
    pictures: int = 1  # of each condition
    last: tuple[Any, ...] = ()  # what the pass before was asked
    leaps: bool = False  # whether passes go from place to place of a large picture

    def predicting(self, predict: Predict) -> Predict:
        """The same estimate, with the places of the words in its conditions known to those who look."""

        def located(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
            length = max(each.tokens.shape[1] for each in conds)
            for name, each in self.sought.items():
                rows = torch.stack([spots_in(cond, each.tokens, length) for cond in conds])  # (conds, T)
                self.spots[name] = rows.repeat_interleave(len(x), 0).to(x.device)
                said = torch.tensor([is_said(cond, each.tokens) for cond in conds])
                self.said[name] = said.repeat_interleave(len(x), 0).to(x.device)
            self.follow(x, sigma, conds)
            return predict(x, sigma, conds)

        return located

    def follow(self, x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> None:
        """Begin a pass. What was seen a step before stands for what this has not come to, where the same was asked of
        the same picture: not of another tile, of which there are many at one level."""
        now = (tuple(x.shape), tuple(map(id, conds)), sigma.flatten()[0].item())
        self.leaps = self.leaps or (now == self.last)
        if now[2:] != self.last[2:]:
            self.before, self.level = self.level, {}
        seen = {} if self.leaps else self.level.get(now[:2], self.before.get(now[:2], {}))
        self.maps = self.level[now[:2]] = seen
        self.last, self.shape, self.pictures = now, (x.shape[-2], x.shape[-1]), len(x)

    def note(self, attention: Any, seen: Tensor, read: Tensor) -> None:
        """Look where `seen` (n, N, C) attends to the words' tokens among `read` (n, T, D)."""
        if not self.spots or next(iter(self.spots.values())).shape != read.shape[:2]:
            return
        query, key = (
            each.unflatten(-1, (attention.heads, -1)).transpose(1, 2).float()
            for each in (attention.to_q(seen), attention.to_k(read))
        )
        size = halved(self.shape, seen.shape[1])
        if size is None:
            return
        shares = (query @ key.transpose(-1, -2) * attention.scale).softmax(-1).mean(1)  # (n, N, T)
        for name, spots in self.spots.items():
            self.maps.setdefault(name, {})[attention] = (shares * spots[:, None]).sum(-1).unflatten(-1, (1, *size))

    def masks(self) -> dict[str, Callable[[nn.Module], Callable[[Tensor], Tensor] | None]]:
        """For each word, layer -> where its change acts: in layers that are no transformer's last, everywhere while a
        prompt has the word."""
        lasts = {each.proj_out for each in self.watched}

        def of(name: str, layer: nn.Module) -> Callable[[Tensor], Tensor]:
            located = layer in lasts and self.sought[name].threshold > 0
            return self.where(name) if located else self.awake(name)

        return {name: partial(of, name) for name in self.sought}

    def awake(self, name: str) -> Callable[[Tensor], Tensor]:
        """answer -> 1 where a prompt of the pass has the word and 0 where none has.

        The empty prompt beside it is changed, too: guidance goes on from their difference, and would else enlarge what
        the change does to the place. Where prompts of one pass have other words, each is changed by its own alone.
        """

        def on(answer: Tensor) -> Tensor:
            own = self.said.get(name)
            if own is None or not own.any():
                return answer.new_full((), float(own is None))
            others = torch.stack([said for other, said in self.said.items() if other != name] or [own & ~own]).any(0)
            if not (others & ~own).any() or len(own) != len(answer):
                return answer.new_ones(())
            return own.to(answer).view(-1, *[1] * (answer.dim() - 1))

        return on

    def where(self, name: str) -> Callable[[Tensor], Tensor]:
        """answer -> 1 where the word is looked at and 0 elsewhere, shaped to multiply it; the same beside it for the
        empty prompt.

        The maps of all transformers are added up, for some see words sharply and some hardly; those that this pass has
        not come to are of the pass before.
        """

        def mask(answer: Tensor) -> Tensor:
            size = answer.shape[-2:] if answer.dim() == 4 else halved(self.shape, answer.shape[1])
            maps = [each for each in self.maps.get(name, {}).values() if len(each) == len(answer)]
            if not maps or size is None:
                return answer.new_ones(())
            total = torch.stack([spread(each, tuple(size)) for each in maps]).sum(0).flatten(1)  # (n, N)
            low, high = total.amin(1, keepdim=True), total.amax(1, keepdim=True)
            said = self.spots[name].any(1, keepdim=True)
            there = ((total - low) / (high - low).clamp(min=1e-12) > self.sought[name].threshold) & said
            none = ~torch.stack(list(self.said.values())).any(0)  # rows whose prompt has no word that is sought
            beside = there.view(-1, self.pictures, there.shape[1]).any(0).repeat(len(there) // self.pictures, 1)
            there = torch.where(none[:, None], beside, there).to(answer)
            return there.reshape(len(there), 1, *size) if answer.dim() == 4 else there[..., None]

        return mask


def halved(shape: tuple[int, int], places: int) -> tuple[int, int] | None:
    """Height and width of the level of so many places, of a UNet whose levels halve and round up; None for none."""
    height, width = shape
    while height * width > places:
        height, width = -(-height // 2), -(-width // 2)
    return (height, width) if height * width == places else None


def spread(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Maps (n, 1, h, w) at another size."""
    return maps if maps.shape[-2:] == size else nn.functional.interpolate(maps, size, mode="bilinear")


def is_said(cond: Cond, tokens: tuple[int, ...]) -> bool:
    """Whether a condition has these tokens; true where its tokens are unknown."""
    return "ids" not in cond.extras or bool(spots_in(cond, tokens, cond.tokens.shape[1]).any())


def spots_in(cond: Cond, tokens: tuple[int, ...], length: int) -> Tensor:
    """1 where these tokens stand one after another in a condition, 0 elsewhere, (length,)."""
    ids = cond.extras["ids"][0].tolist() if "ids" in cond.extras else []
    spots = torch.zeros(length)
    for k in range(len(ids) - len(tokens) + 1):
        if tuple(ids[k : k + len(tokens)]) == tokens:
            spots[k : k + len(tokens)] = 1
    return spots


def transformers(net: nn.Module) -> list[Any]:
    """The transformers of a UNet whose blocks read words."""
    return [
        each
        for name, each in net.named_modules()
        if hasattr(each, "transformer_blocks") and hasattr(each, "proj_out") and ".attentions." in f".{name}"
    ]


@contextmanager
def attending(net: nn.Module, sought: Mapping[str, Sought]) -> Iterator[Attention]:
    """The attention of a lent network to words, watched until the block is left; nothing where none is sought."""
    located = any(each.threshold > 0 for each in sought.values())
    attention = Attention(sought, transformers(net) if located else [])
    with ExitStack() as stack:
        for transformer in attention.watched:
            for block in transformer.transformer_blocks:

                def look(layer: Any, given: Any, named: Any) -> None:
                    attention.note(layer, given[0], named["encoder_hidden_states"])

                hook = block.attn2.register_forward_pre_hook(look, with_kwargs=True)
                stack.callback(hook.remove)
        yield attention
