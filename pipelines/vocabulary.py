"""Words that a model never read. A model raised on few words spells out the rest letter by letter, and letters that
mean nothing to it spoil its picture; nobody but the studio can say which words those are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipelines.adapters import worn
from pipelines.models.adapters import adapters, embeddings
from pipelines.prompts import clauses, spans

if TYPE_CHECKING:
    from pipelines.models import ModelSpec
    from pipelines.painting import Sampled

WORD = re.compile(r"[^\W\d_]{2,}")
SHOWN = 4  # words that a sentence names


def strange(request: Sampled, spec: ModelSpec) -> list[str]:
    """The words of both prompts that the model never read and nobody taught it, each once. Raises StudioError."""
    if spec.words is None:
        return []
    said = request.said()
    brought = [f"{adapters[name].phrase} {adapters[name].words}" for name in worn(request, spec)]
    known = spec.words() | set(_words([*brought, *embeddings]))
    texts = [span.text for text in said for clause in clauses(text) for span in spans(clause.text)]
    return [word for word in dict.fromkeys(_words(texts)) if word not in known]


def warning(request: Sampled, spec: ModelSpec) -> str:
    """A sentence about such words; empty where there are none. Raises StudioError."""
    words = strange(request, spec)
    if not words:
        return ""
    more = len(words) - SHOWN
    if len(words) == 1:
        return f"{spec.title} never learned the word {words[0]}; it may spoil the picture."
    named = [*words[:SHOWN], *([f"{more} more"] if more > 0 else [])]
    return f"{spec.title} never learned the words {', '.join(named[:-1])} and {named[-1]}; they may spoil the picture."


def _words(texts: Iterable[str]) -> list[str]:
    return [word.lower() for text in texts for word in WORD.findall(text)]
