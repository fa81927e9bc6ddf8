"""What was worked out once and may be asked for again, such as encoded prompts: kept within a budget of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from numpy import ndarray
from torch import Tensor

T = TypeVar("T")
BUDGET = 2**27  # bytes: 200 prompts of SDXL, 15 of FLUX.1, whose text encoder takes 9 GB to load again


class Notes:
    """Values by key, the oldest forgotten where all of them would take more than `budget` bytes."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    @property
    def bytes(self) -> int:
        """What the tensors and arrays in all values take."""
        return sum(count for _, count in list(self._kept.values()))

    def recall(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gave the last time it was asked for `key`, or gives now. What is too large is not kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]  # type: ignore[no-any-return]
        value = make()
        count = bytes_in(value)
        if count > self.budget:
            return value
        self._kept[key] = value, count
        while self.bytes > self.budget:
            self._kept.popitem(last=False)
        return value

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()


def bytes_in(value: Any) -> int:
    """Bytes of all tensors and arrays in a value: in its fields, its entries, its items."""
    if isinstance(value, (Tensor, ndarray)):
        return value.nbytes
    if is_dataclass(value) and not isinstance(value, type):
        return sum(bytes_in(getattr(value, each.name)) for each in fields(value))
    if isinstance(value, Mapping):
        return sum(map(bytes_in, value.values()))
    return sum(map(bytes_in, value)) if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else 0
