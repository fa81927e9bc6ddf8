"""Prompts as people write them: weights in brackets, any length. It knows nothing of networks.

`(word)` is 1.1 times as strong, `((word))` 1.21, `(word:1.3)` 1.3, `[word]` 1/1.1; a backslash makes a bracket plain.
The grammar is the one that AUTOMATIC1111's web UI made common.
"""

import re
import zlib
from dataclasses import dataclass

STRONGER = 1.1
STRONGEST = 4.0
TOKEN = re.compile(r"\\[\\()\[\]]|[()\[\]]|:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[^\\()\[\]:]+|:|\\")
CLAUSE = re.compile(r"\b(AND NOT|AND|NOT)\b")
WEIGHT = re.compile(r":\s*(\d+\.?\d*|\.\d+)\s*$")
SENTENCE = re.compile(r"(?<=[.;!?\n])\s+|\n+|(?<=,)\s+")


ROOM = 4096  # vectors of a coined word, at the most


def coined_id(word: str) -> int:
    """Below 0, where no vocabulary has tokens: the first of the numbers, falling, that stand for a coined word's
    vectors among the tokens of a prompt."""
    return -1 - ROOM * zlib.crc32(word.lower().encode())


@dataclass(frozen=True)
class Span:
    """A piece of a prompt and how strongly it counts, 1 being plain."""

    text: str
    weight: float = 1.0


def spans(prompt: str) -> list[Span]:
    """The pieces of a prompt with their weights; neighbours of equal weight are joined, brackets are gone."""
    pieces: list[Span] = []
    opened: list[tuple[str, int]] = []  # the bracket and how many pieces stood before it
    for match in TOKEN.finditer(prompt):
        word = match.group()
        if word in "([" and word:
            opened.append((word, len(pieces)))
        elif match["weight"] is not None and opened and opened[-1][0] == "(":
            _scale(pieces, opened.pop()[1], float(match["weight"]))
        elif word in ")]" and opened and opened[-1][0] == {")": "(", "]": "["}[word]:
            bracket, start = opened.pop()
            _scale(pieces, start, STRONGER if bracket == "(" else 1 / STRONGER)
        else:
            pieces.append(Span(word[1] if len(word) == 2 and word[0] == "\\" else word))
    for bracket, start in reversed(opened):  # never closed: a plain bracket
        pieces.insert(start, Span(bracket))
    return _joined(pieces)


def _scale(pieces: list[Span], start: int, weight: float) -> None:
    pieces[start:] = [Span(each.text, max(-STRONGEST, min(STRONGEST, each.weight * weight))) for each in pieces[start:]]


def _joined(pieces: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for piece in pieces:
        if joined and joined[-1].weight == piece.weight:
            joined[-1] = Span(joined[-1].text + piece.text, piece.weight)
        else:
            joined.append(piece)
    return joined


def sentences(text: str) -> list[str]:
    """Where a long prompt may be cut: after a sentence or a comma, the text being otherwise unchanged."""
    return [piece for piece in SENTENCE.split(text) if piece and piece.strip()]


def clauses(prompt: str) -> list[Span]:
    """What AND and NOT in capitals join, each with the weight that may stand behind it, `a cat AND rain :0.5 NOT fog`.

    The weight of a NOT is negative. A prompt without them is one clause.
    """
    words = ["AND", *CLAUSE.split(prompt)]
    found = [_weighed(text, word) for word, text in zip(words[::2], words[1::2], strict=True) if text.strip()]
    return found or [Span(prompt)]


def _weighed(text: str, word: str) -> Span:
    match = WEIGHT.search(text)
    weight = float(match[1]) if match else 1.0
    return Span(WEIGHT.sub("", text).strip(), -weight if word.endswith("NOT") else weight)
