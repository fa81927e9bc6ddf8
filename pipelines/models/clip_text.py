"""CLIP's text encoder as the studio lends it: a prompt of any length and with weights becomes a `Cond`."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging

from pipelines.parts import json_file
from pipelines.prompts import Span, coined_id, sentences, spans
from pipelines.types import Cond

logging.disable_progress_bar()


@dataclass(frozen=True)
class Segment:
    """Tokens that are read together, without their start and end, and how strongly each counts."""

    ids: list[int]
    weights: list[float]


class ClipText(nn.Module):
    """prompt -> Cond, tokens (1, T, D), the last hidden states; in `extras` "penultimate" (1, T, D) and "penultimate
    fill" (1, 1, D), the states one layer earlier, "pooled" (1, P), the whole prompt in one vector, and "ids" (1, n),
    the numbers of the tokens that the first n states are of.

    T is the tokenizer's length where the prompt fits, and as long as it takes where it does not: segments are encoded
    apart, each keeps its start token, and the mean pad embedding of the empty prompt fills what is left; the first
    segment is pooled. LongAlign, Liu et al. 2024, Section 3.1 (arXiv:2410.11817).
    """

    def __init__(self, tokenizer: CLIPTokenizer, model: CLIPTextModel | CLIPTextModelWithProjection) -> None:
        super().__init__()
        self.tokenizer, self.model = tokenizer, model
        self.room = tokenizer.model_max_length - 2  # tokens of one segment, less start and end
        self.coined: dict[str, list[int]] = {}  # words that were taught -> ids below 0

    @classmethod
    def load(
        cls, folder: Path, number_type: torch.dtype, encoder: str = "text_encoder", tokenizer: str = "tokenizer"
    ) -> "ClipText":
        """From a checkpoint in the diffusers layout."""
        settings = json_file(folder / encoder / "config.json")
        projects = settings.get("architectures") == [CLIPTextModelWithProjection.__name__]
        model = (CLIPTextModelWithProjection if projects else CLIPTextModel).from_pretrained(
            folder / encoder, dtype=number_type, local_files_only=True, use_safetensors=True
        )
        return cls(CLIPTokenizer.from_pretrained(folder / tokenizer, local_files_only=True), model)

    def forward(self, prompt: str) -> Cond:
        empty, _ = self._encoded([])  # (1, L, D), twice
        fills = [states[:, 2:].mean(1, keepdim=True) for states in empty]  # behind start and end stand only pads
        segments = list(self._segments(spans(prompt)))
        read = [self._weighted(each, empty) for each in segments]
        both = [Cond(states, fill) for states, fill in zip(read[0][0], fills, strict=True)]
        if len(segments) > 1:
            both = [self._chained([states[k] for states, _ in read], segments, fill) for k, fill in enumerate(fills)]
        last, earlier = both
        extras = {"penultimate": earlier.tokens, "penultimate fill": earlier.fill, "pooled": read[0][1]}
        ids = [token for each in segments for token in (self.tokenizer.bos_token_id, *each.ids)]
        extras["ids"] = torch.tensor([ids])  # as the states stand: each segment with its start token
        return Cond(last.tokens, last.fill, extras)

    def _chained(self, states: list[Tensor], segments: list[Segment], fill: Tensor) -> Cond:
        """The states of all segments, each with its start token, filled up to a multiple of the tokenizer's length."""
        kept = [known[:, : 1 + len(each.ids)] for known, each in zip(states, segments, strict=True)]
        cond = Cond(torch.cat(kept, 1), fill)
        length = -(-cond.tokens.shape[1] // (self.room + 2)) * (self.room + 2)
        return Cond(cond.lengthened(length), fill)

    def count(self, prompt: str) -> int:
        """How many tokens a prompt has."""
        return sum(len(each.ids) for each in self._segments(spans(prompt)))

    def _segments(self, pieces: list[Span]) -> Iterator[Segment]:
        """The whole prompt as one segment where it fits, else its sentences, each cut where even it is too long."""
        whole = self._tokenized(pieces)
        if len(whole.ids) <= self.room:
            yield whole
            return
        for piece in self._packed(pieces):
            for start in range(0, len(piece.ids), self.room):
                yield Segment(piece.ids[start : start + self.room], piece.weights[start : start + self.room])

    def _packed(self, pieces: list[Span]) -> Iterator[Segment]:
        """Neighbouring sentences together as long as they fit in one segment."""
        ids: list[int] = []
        weights: list[float] = []
        for piece in pieces:
            for sentence in sentences(piece.text):
                more = self._tokenized([Span(sentence, piece.weight)])
                if ids and len(ids) + len(more.ids) > self.room:
                    yield Segment(ids, weights)
                    ids, weights = [], []
                ids, weights = ids + more.ids, weights + more.weights
        yield Segment(ids, weights)

    def _tokenized(self, pieces: list[Span]) -> Segment:
        ids: list[int] = []
        weights: list[float] = []
        for piece in pieces:
            more = self._ids(piece.text)
            ids, weights = ids + more, weights + [piece.weight] * len(more)
        return Segment(ids, weights)

    def _ids(self, text: str) -> list[int]:
        """The tokenizer's ids, and those of coined words where they stand."""
        if not self.coined:
            return self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids  # type: ignore[no-any-return]
        words = "|".join(re.escape(word) for word in sorted(self.coined, key=len, reverse=True))
        ids: list[int] = []
        for k, piece in enumerate(re.split(rf"(?<!\w)({words})(?!\w)", text, flags=re.IGNORECASE)):
            plain = k % 2 == 0  # what was split by stands at odd places
            known = self.tokenizer(piece, add_special_tokens=False, verbose=False).input_ids if plain else []
            ids += known if plain else self.coined[piece.lower()]
        return ids

    @contextmanager
    def taught(self, words: Mapping[str, Tensor]) -> Iterator[None]:
        """For the length of a block each of these words stands for its vectors (n, D); the weights stay as they are.

        Textual inversion, Gal et al. 2022 (arXiv:2208.01618). The ids are below 0, which no vocabulary has.
        """
        embedding = self.model.get_input_embeddings()
        rows = torch.cat(list(words.values())).to(embedding.weight) if words else embedding.weight[:1]
        coined = {word.lower(): [coined_id(word) - k for k in range(len(each))] for word, each in words.items()}
        numbers = torch.tensor([each for ids in coined.values() for each in ids] or [0], device=rows.device)
        seen: list[Tensor] = []

        def hide(_: Any, given: tuple[Tensor]) -> tuple[Tensor]:
            seen.append(given[0])
            return (given[0].clamp(min=0),)

        def fill(_: Any, __: Any, known: Tensor) -> Tensor:
            ids = seen.pop()  # (1, L)
            return torch.where((ids < 0)[..., None], rows[(ids[..., None] == numbers).int().argmax(-1)], known)

        hooks = [embedding.register_forward_pre_hook(hide), embedding.register_forward_hook(fill)]
        self.coined = coined
        try:
            yield
        finally:
            self.coined = {}
            for hook in hooks:
                hook.remove()

    def _encoded(self, ids: list[int]) -> tuple[list[Tensor], Tensor]:
        """The last hidden states and those before, (1, L, D) each, and the pooled one, of start, ids, end and pads."""
        known = self.tokenizer
        row = [known.bos_token_id, *ids, known.eos_token_id]
        row += [known.pad_token_id] * (known.model_max_length - len(row))
        place = self.model.get_input_embeddings().weight.device
        read = self.model(torch.tensor([row], device=place), output_hidden_states=True)
        pooled = read.text_embeds if "text_embeds" in read else read.pooler_output
        return [read.last_hidden_state.float(), read.hidden_states[-2].float()], pooled.float()

    def _weighted(self, segment: Segment, empty: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Each token's embedding moved away from the empty prompt's, or towards it, by its weight; and the pooled."""
        encoded, pooled = self._encoded(segment.ids)
        if all(weight == 1 for weight in segment.weights):
            return encoded, pooled
        weights = pooled.new_ones(encoded[0].shape[1])
        weights[1 : 1 + len(segment.weights)] = weights.new_tensor(segment.weights)
        return [none.lerp(states, weights[None, :, None]) for none, states in zip(empty, encoded, strict=True)], pooled
