"""CLIP's text encoder as the studio lends it: a prompt of any length and with weights becomes a `Cond`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging

from pipelines.prompts import Span, sentences, spans
from pipelines.types import Cond

logging.disable_progress_bar()


@dataclass(frozen=True)
class Segment:
    """Tokens that are read together, without their start and end, and how strongly each counts."""

    ids: list[int]
    weights: list[float]


class ClipText(nn.Module):
    """prompt -> Cond, tokens (1, T, D). T is the tokenizer's length where the prompt fits, and as long as it takes
    where it does not: segments are encoded apart, each keeps its start token, and the mean pad embedding of the
    empty prompt fills what is left. LongAlign, Liu et al. 2024, Section 3.1 (arXiv:2410.11817).
    """

    def __init__(self, tokenizer: CLIPTokenizer, model: CLIPTextModel) -> None:
        super().__init__()
        self.tokenizer, self.model = tokenizer, model
        self.room = tokenizer.model_max_length - 2  # tokens of one segment, less start and end

    @classmethod
    def load(cls, folder: Path, number_type: torch.dtype) -> "ClipText":
        """From a checkpoint in the diffusers layout."""
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        model = CLIPTextModel.from_pretrained(
            folder / "text_encoder", dtype=number_type, local_files_only=True, use_safetensors=True
        )
        return cls(tokenizer, model)

    def forward(self, prompt: str) -> Cond:
        empty = self._encoded([])  # (1, L, D)
        fill = empty[:, 2:].mean(1, keepdim=True)  # behind start and end stand only pads
        segments = list(self._segments(spans(prompt)))
        if len(segments) == 1:
            return Cond(self._weighted(segments[0], empty), fill)
        kept = [self._weighted(each, empty)[:, : 1 + len(each.ids)] for each in segments]
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
            more = self.tokenizer(piece.text, add_special_tokens=False, verbose=False).input_ids
            ids, weights = ids + more, weights + [piece.weight] * len(more)
        return Segment(ids, weights)

    def _encoded(self, ids: list[int]) -> Tensor:
        """The last hidden state of start, ids, end and pads, (1, L, D) float32."""
        known = self.tokenizer
        row = [known.bos_token_id, *ids, known.eos_token_id]
        row += [known.pad_token_id] * (known.model_max_length - len(row))
        place = self.model.get_input_embeddings().weight.device
        return self.model(torch.tensor([row], device=place)).last_hidden_state.float()

    def _weighted(self, segment: Segment, empty: Tensor) -> Tensor:
        """Each token's embedding moved away from the empty prompt's, or towards it, by its weight."""
        encoded = self._encoded(segment.ids)
        if all(weight == 1 for weight in segment.weights):
            return encoded
        weights = encoded.new_ones(encoded.shape[1])
        weights[1 : 1 + len(segment.weights)] = weights.new_tensor(segment.weights)
        return empty.lerp(encoded, weights[None, :, None])
