"""T5's text encoder as the studio lends it: a prompt, with weights, becomes a `Cond`."""

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase, T5EncoderModel

from pipelines.prompts import Span, spans
from pipelines.types import Cond


class T5Text(nn.Module):
    """(prompt, length) -> Cond, tokens (1, T, D). T is `length`, and as long as it takes where a prompt is longer:
    T5 knows distances, not places. Pads are read too, as the families that use it were trained.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: T5EncoderModel) -> None:
        super().__init__()
        self.tokenizer, self.model = tokenizer, model

    @classmethod
    def load(cls, encoder: Path, tokenizer: Path, number_type: torch.dtype) -> "T5Text":
        """From the two folders of a checkpoint in the diffusers layout."""
        model = T5EncoderModel.from_pretrained(encoder, dtype=number_type, local_files_only=True, use_safetensors=True)
        return cls(AutoTokenizer.from_pretrained(tokenizer, local_files_only=True), model)

    def forward(self, prompt: str, length: int) -> Cond:
        ids, weights = self._tokenized(spans(prompt))
        length = max(length, len(ids))
        tokens = self._encoded(ids, length)
        if any(weight != 1 for weight in weights):
            strengths = tokens.new_ones(length)
            strengths[: len(weights)] = tokens.new_tensor(weights)
            tokens = self._encoded(self._tokenized([])[0], length).lerp(tokens, strengths[None, :, None])
        pads = tokens[:, len(ids) :] if len(ids) < length else tokens[:, -1:]
        return Cond(tokens, pads.mean(1, keepdim=True))

    def _tokenized(self, pieces: list[Span]) -> tuple[list[int], list[float]]:
        """Ids with their end, and the weight of each; read as a whole where no weight stands between."""
        if len(pieces) < 2:
            ids = list(self.tokenizer(pieces[0].text if pieces else "", verbose=False).input_ids)
            return ids, [pieces[0].weight if pieces else 1.0] * (len(ids) - 1) + [1.0]
        each = [list(self.tokenizer(piece.text, verbose=False).input_ids) for piece in pieces]
        joined = [id_ for ids in each for id_ in ids[:-1]] + each[-1][-1:]
        weights = [piece.weight for piece, ids in zip(pieces, each, strict=True) for _ in ids[:-1]]
        return joined, [*weights, 1.0]

    def _encoded(self, ids: list[int], length: int) -> Tensor:
        """The last hidden state of ids and pads, (1, length, D), in its own number type: it is long."""
        row = ids + [self.tokenizer.pad_token_id] * (length - len(ids))
        place = self.model.get_input_embeddings().weight.device
        return self.model(torch.tensor([row], device=place)).last_hidden_state  # type: ignore[no-any-return]
