"""The tokenizer of the built-in model: a real CLIP BPE in which every word of the grammar is one token.

A word that the grammar does not know falls apart into pieces of known words and letters.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

LENGTH = 48  # tokens of a prompt; CLIP's 77 would cost time in every cross-attention
START, END = "<|startoftext|>", "<|endoftext|>"


def make_tokenizer(words: Iterable[str], length: int = LENGTH) -> CLIPTokenizer:
    """A CLIPTokenizer with the byte alphabet and the merges that make each of the words one token."""
    letters = list(bytes_to_unicode().values())
    merges = learn_merges(words)
    whole = [left + right for left, right in merges]
    vocabulary = dict.fromkeys([*letters, *(letter + "</w>" for letter in letters), *whole, START, END])
    table = {token: number for number, token in enumerate(vocabulary)}
    return CLIPTokenizer(vocab=table, merges=merges, pad_token=END, model_max_length=length)


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Byte-pair encoding learned to the end: the most frequent pair is merged until every word is one piece.

    Sennrich et al. 2016, Algorithm 1 (arXiv:1508.07909). Chains of merges word by word would not do: a pair of an
    earlier word may tear a later one apart.
    """
    pieces = [(*word[:-1], word[-1] + "</w>") for word in sorted(set(words))]
    merges: list[tuple[str, str]] = []
    while counts := Counter(pair for word in pieces for pair in pairwise(word)):
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        pieces = [_merge(word, best) for word in pieces]
    return merges


def _merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for piece in word:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return tuple(merged)
