"""Gemma as a reader of prompts, as the studio lends it: the states of a language model become a `Cond`."""

import inspect
from functools import cache
from pathlib import Path

import torch
from torch import nn
from transformers import AutoTokenizer, Gemma2Model, PreTrainedTokenizerBase

from pipelines.prompts import spans
from pipelines.types import Cond


class GemmaText(nn.Module):
    """(prompt, length, instructed) -> Cond, tokens (1, length, D); `extras` "mask" (1, length) is 1 where words are.

    `instructed` puts the instruction before the prompt that Sana was trained with, and keeps the states behind it.
    Weights are read as plain words: a language model's states depend on all that came before.
    Xie et al. 2024, Section 3.1 (arXiv:2410.10629).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: Gemma2Model) -> None:
        super().__init__()
        tokenizer.padding_side = "right"
        self.tokenizer, self.model = tokenizer, model

    @classmethod
    def load(cls, encoder: Path, tokenizer: Path, number_type: torch.dtype) -> "GemmaText":
        """From the two folders of a checkpoint in the diffusers layout."""
        model = Gemma2Model.from_pretrained(encoder, dtype=number_type, local_files_only=True, use_safetensors=True)
        return cls(AutoTokenizer.from_pretrained(tokenizer, local_files_only=True), model)

    def forward(self, prompt: str, length: int, instructed: bool) -> Cond:
        words = "".join(span.text for span in spans(prompt)).lower().strip()
        before = instruction() if instructed else ""
        whole = len(self.tokenizer(before).input_ids) + length - 2 if instructed else length
        known = self.tokenizer(
            before + words, padding="max_length", max_length=whole, truncation=True, return_tensors="pt"
        )
        place = self.model.get_input_embeddings().weight.device
        ids, mask = known.input_ids.to(place), known.attention_mask.to(place)
        states = self.model(ids, attention_mask=mask).last_hidden_state
        kept = [0, *range(whole - length + 1, whole)]  # the start token, and what the last places say
        return Cond(states[:, kept], states[:, -1:], {"mask": mask[:, kept]})


@cache
def instruction() -> str:
    """What Sana's own pipeline says before every prompt."""
    from diffusers import SanaPipeline

    lines = inspect.signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default
    return "\n".join(lines)
