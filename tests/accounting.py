"""What several test modules share: a device that counts in place of a GPU, and ways to run a generator out."""

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pipelines.device import Device
from pipelines.memory import Memory
from pipelines.parts import Part

T = TypeVar("T")


class Host(Device):
    """The CPU in float32, whatever this machine would be faster in."""

    def __init__(self) -> None:
        super().__init__("cpu")

    def number_type(self, width: int) -> torch.dtype:
        return torch.float32


class Accounting(Host):
    """A device apart from the host that counts the bytes moved each way. Its memory is copies in host memory.

    `work` is what a pass is said to need; `runs_out` how often bringing weights in fails for want of memory.
    """

    is_host = False

    def __init__(self) -> None:
        super().__init__()
        self.moved_in = self.moved_out = self.runs_out = self.locked = 0
        self.work: int | None = None

    def fetched(
        self, tensors: Sequence[Tensor], kinds: Sequence[torch.dtype], buffer: Tensor | None = None
    ) -> list[Tensor]:
        if self.runs_out:
            self.runs_out -= 1
            raise torch.OutOfMemoryError("out of memory")
        copies = [each.to(kind, copy=True) for each, kind in zip(tensors, kinds, strict=True)]
        self.moved_in += sum(each.nbytes for each in copies)
        return copies

    def lock(self, buffer: Tensor) -> bool:
        self.locked += buffer.nbytes
        return True

    def unlock(self, buffer: Tensor) -> None:
        self.locked -= buffer.nbytes

    def used(self) -> int:
        return 0

    def peak(self) -> int | None:
        return self.work


def host() -> Memory:
    return Memory(Host())


def result_of(running: Generator[Any, None, T]) -> T:
    """Run a generator to its end and give what it returned."""
    while True:
        try:
            next(running)
        except StopIteration as end:
            return end.value


def linear(key: str, megabytes: int, failure: Exception | None = None) -> Part:
    """A part of so many megabytes of float32."""
    elements = megabytes * 2**18

    def load(number_type: torch.dtype) -> nn.Module:
        if failure:
            raise failure
        return nn.Linear(elements // 64, 64, bias=False, dtype=number_type)

    return Part(f"The part {key}", key, elements, 64, load)
