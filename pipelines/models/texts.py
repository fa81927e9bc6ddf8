"""Text encoders of checkpoints in the diffusers layout as parts: each is lent as a function that gives a `Cond`.

Two checkpoints with the same encoder share it, whatever their families read of it. It loads nothing by itself.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.parts import Part, folder_part, json_file

if TYPE_CHECKING:
    import torch
    from torch import nn


def clip(folder: Path, encoder: str = "text_encoder", tokenizer: str = "tokenizer") -> Part:
    """A CLIP text encoder, lent as prompt -> Cond. Raises BadCheckpoint, KeyError."""
    width = json_file(folder / encoder / "config.json")["hidden_size"]
    load = partial(_clip, folder, encoder, tokenizer)
    return folder_part("The text encoder", folder / encoder, int(width), load, _words(folder / tokenizer))


def t5(folder: Path, encoder: str, tokenizer: str) -> Part:
    """A T5 text encoder, lent as (prompt, length) -> Cond. Raises BadCheckpoint, KeyError."""
    width = json_file(folder / encoder / "config.json")["d_model"]
    load = partial(_t5, folder, encoder, tokenizer)
    return folder_part("The T5 text encoder", folder / encoder, int(width), load, _words(folder / tokenizer))


def gemma(folder: Path, encoder: str = "text_encoder", tokenizer: str = "tokenizer") -> Part:
    """A Gemma language model that reads prompts, lent as (prompt, length, instruction) -> Cond."""
    width = json_file(folder / encoder / "config.json")["hidden_size"]
    load = partial(_gemma, folder, encoder, tokenizer)
    return folder_part("The Gemma text encoder", folder / encoder, int(width), load, _words(folder / tokenizer))


def _words(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for path in folder.glob("*") if path.is_file()))


def _clip(folder: Path, encoder: str, tokenizer: str, number_type: torch.dtype) -> nn.Module:
    from pipelines.models.clip_text import ClipText

    return ClipText.load(folder, number_type, encoder, tokenizer)


def _t5(folder: Path, encoder: str, tokenizer: str, number_type: torch.dtype) -> nn.Module:
    from pipelines.models.t5_text import T5Text

    return T5Text.load(folder / encoder, folder / tokenizer, number_type)


def _gemma(folder: Path, encoder: str, tokenizer: str, number_type: torch.dtype) -> nn.Module:
    from pipelines.models.gemma_text import GemmaText

    return GemmaText.load(folder / encoder, folder / tokenizer, number_type)
