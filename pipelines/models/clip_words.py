"""CLIP's tokenizer from its published merges, for checkpoints that come without one. It needs no network."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

MERGES = Path(__file__).parents[2] / "assets" / "clip" / "merges.txt"
START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH, WORDS = 77, 49408  # tokens of a prompt, and of the vocabulary


@cache
def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """(token -> id, merges in order): all bytes, all bytes that end a word, all merges, start and end."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    lines = MERGES.read_text(encoding="utf-8").splitlines()[1:]
    merges = [(left, right) for left, _, right in (line.partition(" ") for line in lines)]
    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(f"{each}</w>" for each in letters), *(left + right for left, right in merges), START, END]
    return {token: k for k, token in enumerate(tokens)}, merges


def tokenizer(pad: str = END) -> CLIPTokenizer:
    """The tokenizer, filling up with `pad`: the end token in CLIP itself, "!" in OpenCLIP as checkpoints use it."""
    from transformers import CLIPTokenizer

    known, merges = vocabulary()
    return CLIPTokenizer(vocab=known, merges=merges, pad_token=pad, model_max_length=LENGTH)
