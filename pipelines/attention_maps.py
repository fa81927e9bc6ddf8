"""Which part of a picture each word of its prompt is seen in, by the cross-attention of a UNet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipelines.errors import StudioError

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 16 * 16  # places; finer maps show texture: Chefer et al. 2023, Section 4 (arXiv:2301.13826)
BETWEEN = (
    r"to the (?:left|right) of|(?:left|right) of|on top of|in front of|next to|close to|away from|"
    r"and|with|without|beside|besides|above|below|under|over|behind|between|near|inside|in|on|at|before|against"
)  # the longer ones first
APART = re.compile(rf"\s*(?:,|\b(?:{BETWEEN})\b)\s*", re.I)
EMPTY = {"a", "an", "the", "of", "to", "is", "there", "picture", "photo", "two", "three", "front", "left", "right"}


class Looking:
    """A cross-attention that notes its map, (rows, T) of places and words, for the last of the conditions asked."""

    def __init__(self, own: Any, maps: list[Tensor]) -> None:
        self.own, self.maps = own, maps

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, *more: Any, **named: Any
    ) -> Any:
        if encoder_hidden_states is not None and hidden_states.dim() == 3 and hidden_states.shape[1] <= LARGEST:
            query = attn.head_to_batch_dim(attn.to_q(hidden_states[-1:]))
            key = attn.head_to_batch_dim(attn.to_k(encoder_hidden_states[-1:]))
            self.maps.append(attn.get_attention_scores(query, key).mean(0).float())  # over heads
        return self.own(attn, hidden_states, encoder_hidden_states, *more, **named)


@contextmanager
def looking_at_words(net: Any, maps: list[Tensor]) -> Iterator[None]:
    """Cross-attentions note their maps, as long as the block lasts. Raises StudioError where there are none."""
    layers = [module for name, module in net.named_modules() if name.endswith("attn2")]
    if not layers:
        raise StudioError("This guidance reads where words are seen, which only networks with cross-attention show.")
    own = [layer.processor for layer in layers]
    try:
        for layer, processor in zip(layers, own, strict=True):
            layer.processor = Looking(processor, maps)
        yield
    finally:
        for layer, processor in zip(layers, own, strict=True):
            layer.processor = processor


def merged_maps(maps: Sequence[Tensor]) -> Tensor:
    """The mean of the finest maps that were noted, (places, T)."""
    finest = max(len(each) for each in maps)
    chosen = [each for each in maps if len(each) == finest]
    total = chosen[0]
    for each in chosen[1:]:
        total = total + each
    return total / len(chosen)


def groups_of(prompt: str, things: str = "") -> list[list[str]]:
    """The things of a prompt, each with the words that belong to it; `things` names them as `red cat | dog`."""
    parts = things.split("|") if things.strip() else APART.split(prompt)
    words = [[word for word in re.findall(r"\w+", part.lower()) if word not in EMPTY] for part in parts]
    return [each for each in words if each]


def places_of(groups: Sequence[Sequence[str]], prompt: str, tokenizer: Any) -> list[list[int]]:
    """Which tokens of a prompt the words of each group are, the start token being 0; groups without any are out."""
    found: list[tuple[str, int]] = []
    at = 1
    for word in re.findall(r"\w+|[^\w\s]", prompt.lower()):
        count = len(tokenizer(word, add_special_tokens=False)["input_ids"])
        found += [(word, at + k) for k in range(count)]
        at += count
    room = tokenizer.model_max_length - 1
    places = [[place for word, place in found if word in group and place < room] for group in groups]
    return [each for each in places if each]
