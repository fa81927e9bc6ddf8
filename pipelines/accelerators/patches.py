"""Patches of a lent UNet that accelerators share. Each lasts as long as its block and leaves the network as it was."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipelines.errors import StudioError

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Run


def unet_of(run: Run, method: str) -> Any:
    """The UNet of a run. Raises StudioError where the network is none."""
    if not hasattr(run.net, "down_blocks") or not hasattr(run.net, "mid_block"):
        raise StudioError(f"{method} speeds up UNets, and {run.spec.title if run.spec else 'this model'} has none.")
    return run.net


def asked_by(conds: Sequence[Cond]) -> Hashable:
    """What tells one question to the network from another: which conditions it is asked under."""
    return tuple(id(cond) for cond in conds)


class Answers:
    """The last answers of some modules, by the question they were part of. `reuse` says whether they stand again."""

    def __init__(self) -> None:
        self.reuse = False
        self.question: Hashable = None
        self.answers: dict[Hashable, Any] = {}
        self.skipped = 0  # how many calls of modules were answered from memory

    def ask(self, question: Hashable, reuse: bool) -> None:
        """Begin a pass of the network; what was never answered is not reused."""
        self.question = question
        self.reuse = reuse and any(known[0] == question for known in self.answers)  # type: ignore[index]


@contextmanager
def remembering(modules: Sequence[Any], memory: Answers) -> Iterator[None]:
    """The modules answer from `memory` where it says so, and are not computed."""

    def remembered(module: Any, own: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*inputs: Any, **named: Any) -> Any:
            place = (memory.question, id(module))
            if memory.reuse:
                memory.skipped += 1
            else:
                memory.answers[place] = own(*inputs, **named)
            return memory.answers[place]

        return forward

    with replaced_forwards([(module, remembered(module, module.forward)) for module in modules]):
        yield


@contextmanager
def replaced_forwards(pairs: Sequence[tuple[Any, Callable[..., Any]]]) -> Iterator[None]:
    """Modules compute something else, as long as the block lasts."""
    before = [(module, module.__dict__.get("forward")) for module, _ in pairs]
    try:
        for module, forward in pairs:
            module.forward = forward
        yield
    finally:
        for module, own in before:
            if own is None:
                module.__dict__.pop("forward", None)
            else:  # somebody else's patch, around which this one was
                module.forward = own


@contextmanager
def attending(net: Any, wrap: Callable[[Any], Any]) -> Iterator[None]:
    """Every self-attention goes through wrap(its own processor), as long as the block lasts."""
    layers = [module for name, module in net.named_modules() if name.endswith("attn1")]
    own = [layer.processor for layer in layers]
    try:
        for layer, processor in zip(layers, own, strict=True):
            layer.processor = wrap(processor)
        yield
    finally:
        for layer, processor in zip(layers, own, strict=True):
            layer.processor = processor


class Grid:
    """Where the tokens of a self-attention stand: its rows and columns, and how many levels below the finest it is."""

    def __init__(self) -> None:
        self.height = self.width = 0
        self.finest = 0  # tokens of the first self-attention of a pass, which is the finest

    def begin(self, x: Tensor) -> None:
        """A pass of the network over latents x (B, C, h, w) begins."""
        self.height, self.width = x.shape[-2:]
        self.finest = 0

    def of(self, tokens: int) -> tuple[int, int, int]:
        """(level, rows, columns); level 0 is the finest that attends, -1 where tokens are no grid of the latents."""
        self.finest = self.finest or tokens
        step = 1
        while -(-self.height // step) * -(-self.width // step) > tokens:
            step *= 2
        rows, columns = -(-self.height // step), -(-self.width // step)
        if rows * columns != tokens:
            return -1, 0, 0
        return round((self.finest / tokens) ** 0.5).bit_length() - 1, rows, columns
