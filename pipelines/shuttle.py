"""Weights that are ready only while their block runs: kept small, or kept elsewhere, for the rest of the time.

It knows no device and no family: what a block is, it finds out from the module, and how weights are made ready it is
told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

SHARE = 8  # a block is at most this part of its network, where its layers are smaller than that
VOCABULARY = 256  # rows; larger tables of embeddings stay ready, for callers ask them where they are
HOLDERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)  # nobody need call these; what is in them is called
WHOLE = (nn.MultiheadAttention,)  # reads the weights of what is in it without calling that

Ready = Callable[[Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor]]  # (weights, as they rest) -> ready for use


def tensors_of(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers, each once."""
    return [*module.parameters(), *module.buffers()]


def weight_of(module: nn.Module) -> int:
    """Bytes of parameters and buffers."""
    return sum(each.nbytes for each in tensors_of(module))


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """The blocks that can be made ready one at a time: the largest that are called whole and are an eighth of the
    network or less, else single layers. What is in none of them stays ready: embeddings, norms between blocks, and the
    first layer, whose number type tells callers what to feed. Of an autoencoder every layer is a block of its own.
    """
    most = 0 if hasattr(module, "decoder") else weight_of(module) // SHARE
    first = next(module.parameters(), None)
    return [each for each in _blocks(module, most) if not any(own is first for own in each.parameters())]


def _blocks(module: nn.Module, most: int) -> list[nn.Module]:
    found = []
    for child in module.children():
        if weight_of(child) == 0 or _is_vocabulary(child) or isinstance(child, (nn.GroupNorm, nn.LayerNorm)):
            continue
        inner = any(True for _ in child.children()) and not isinstance(child, WHOLE)
        runs = type(child).forward is not nn.Module.forward  # what has no forward is asked otherwise: layers of a LoRA
        called = runs and not isinstance(child, HOLDERS) and not any(_is_vocabulary(each) for each in child.modules())
        if called and (weight_of(child) <= most or not inner):
            found.append(child)
        else:
            found += _blocks(child, most)
    return found


def _is_vocabulary(module: nn.Module) -> bool:
    return isinstance(module, nn.Embedding) and module.num_embeddings >= VOCABULARY


class Shuttle:
    """Makes the weights of each block ready as it is entered, and puts them to rest as it is left, however it is left.

    Weights lie at rest as they are when this is made; `undo` puts all of them to rest and leaves the blocks alone.
    """

    def __init__(self, blocks: Sequence[nn.Module], ready: Ready) -> None:
        self._ready = ready
        self._rest = [(tensors_of(block), [each.data for each in tensors_of(block)]) for block in blocks]
        self._hooks: list[RemovableHandle] = []
        for block, (tensors, rest) in zip(blocks, self._rest, strict=True):
            self._hooks.append(block.register_forward_pre_hook(self._entering(tensors, rest)))
            self._hooks.append(block.register_forward_hook(self._leaving(tensors, rest), always_call=True))

    def undo(self) -> None:
        """The blocks run as they did before, on weights at rest."""
        for hook in self._hooks:
            hook.remove()
        for tensors, rest in self._rest:
            point(tensors, rest)
        self._hooks, self._rest = [], []

    def _entering(self, tensors: list[Tensor], rest: list[Tensor]) -> Callable[..., None]:
        return lambda *_: point(tensors, self._ready(tensors, rest))

    def _leaving(self, tensors: list[Tensor], rest: list[Tensor]) -> Callable[..., None]:
        return lambda *_: point(tensors, rest)


def point(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Have each weight be a value, which may lie elsewhere and in another number type."""
    with torch.inference_mode(False):
        for tensor, value in zip(tensors, values, strict=True):
            tensor.data = value
