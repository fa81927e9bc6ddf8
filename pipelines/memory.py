"""Models are lent: `with memory.use(part) as net` is the only way to hold one.

Weights do not change while serving, so leaving the device is dropping the copy and pointing back at the host's
master: nothing is ever copied back. It does not know what the parts are for.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pipelines.device import Device
from pipelines.errors import DoesNotFit
from pipelines.estimate import Ledger
from pipelines.parts import Part

T = TypeVar("T")
REMEMBERED = 64  # encoded prompts kept; each is well under a megabyte


@dataclass
class Resident:
    """A part that is loaded: where it is, what it weighs, and how many hold it."""

    part: Part
    module: nn.Module
    number_type: torch.dtype
    bytes: int
    master: dict[str, Tensor] = field(default_factory=dict)
    on_device: bool = False
    lent: int = 0
    last_use: int = 0


class Memory:
    """The shared registry of loaded parts, within a budget of bytes on one device."""

    def __init__(self, device: Device | None = None, budget: int | None = None, ledger: Ledger | None = None) -> None:
        self.device = device or Device()
        self.budget = self.device.default_budget() if budget is None else budget
        self._residents: dict[tuple[str, torch.dtype], Resident] = {}
        self._notes: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.RLock()
        self._clock = 0
        self.ledger = Ledger() if ledger is None else ledger
        self.check: Callable[[], None] = lambda: (
            None
        )  # called between the blocks of a lent network; may raise to end it

    @contextmanager
    def use(self, part: Part) -> Iterator[Any]:
        """Lend `part` on the device until the block is left. Raises DoesNotFit, and what its loader raises."""
        with self._lock:
            resident = self._admitted(part)
            resident.lent += 1
        try:
            yield resident.module
        finally:
            with self._lock:
                resident.lent -= 1

    def recall(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gave the last time it was asked for `key`, or gives now; the oldest are forgotten."""
        if key not in self._notes:
            self._notes[key] = make()
            while len(self._notes) > REMEMBERED:
                self._notes.popitem(last=False)
        self._notes.move_to_end(key)
        return self._notes[key]  # type: ignore[no-any-return]

    @contextmanager
    def timed(self, what: str, model: str, width: int, height: int, units: int = 1) -> Iterator[None]:
        """Note in the ledger how long a block took, for `units` of equal work; nothing where it was left early."""
        begun = time.perf_counter()
        yield
        self.device.wait()
        self.ledger.note(f"{what} {model} {self.device.torch}", width * height, (time.perf_counter() - begun) / units)

    def expected(self, what: str, model: str, width: int, height: int) -> float | None:
        """Seconds that one unit of such work took here before, or None."""
        return self.ledger.seconds(f"{what} {model} {self.device.torch}", width * height)

    def weight(self, part: Part) -> int:
        """Bytes of a part's weights in the type it is run in here."""
        return part.elements * self.number_type(part).itemsize

    def number_type(self, part: Part) -> torch.dtype:
        """The type this part is run in here."""
        return part.number_type or self.device.number_type(part.width)

    def holds(self, part: Part) -> bool:
        """Whether lending `part` would load nothing."""
        resident = self._residents.get((part.key, self.number_type(part)))
        return resident is not None and resident.on_device

    def residents(self) -> list[Resident]:
        """What is loaded, in order of first loading."""
        with self._lock:
            return list(self._residents.values())

    def used(self) -> int:
        """Bytes of weights on the device."""
        return sum(each.bytes for each in self.residents() if each.on_device)

    def free(self) -> int:
        """Let go of everything that is not lent; returns the bytes of weights that were let go."""
        with self._lock:
            idle = {key: each for key, each in self._residents.items() if not each.lent}
            freed = sum(each.bytes for each in idle.values())
            for key, each in idle.items():
                self._leave(each)
                self._residents.pop(key, None)
            self._notes.clear()
        self.device.collect()
        return freed

    def _admitted(self, part: Part) -> Resident:
        number_type = self.number_type(part)
        key = (part.key, number_type)
        needed = self.weight(part)
        if needed > self.budget:
            raise DoesNotFit(
                f"{part.name} needs {_gigabytes(needed)}, more than the {_gigabytes(self.budget)} "
                "that models may use here."
            )
        resident = self._residents.get(key)
        if resident is None or not resident.on_device:
            self._make_room(needed)
        if resident is None:
            module = part.load(number_type).eval().requires_grad_(False)
            self._watch(module)
            resident = self._residents[key] = Resident(part, module, number_type, _weight(module))
        if not resident.on_device:
            self._enter(resident)
        self._clock += 1
        resident.last_use = self._clock
        return resident

    def _watch(self, module: nn.Module) -> None:
        """Have `check` called before every block, so that a stop need not wait for a slow network's end."""
        for blocks in module.modules():
            if isinstance(blocks, nn.ModuleList):
                for block in filter(None, blocks):  # diffusers leaves None where a block has no attention
                    block.register_forward_pre_hook(lambda *_: self.check())

    def _make_room(self, needed: int) -> None:
        """Best fit over idle parts: the smallest that suffices, else the largest again and again; never a lent one."""
        while (short := self.used() + needed - self.budget) > 0:
            idle = sorted(
                (each for each in self._residents.values() if each.on_device and not each.lent),
                key=lambda each: (each.bytes, each.last_use),
            )
            if not idle:
                raise DoesNotFit(
                    f"The models in use leave no room for another {_gigabytes(needed)}; "
                    f"the limit is {_gigabytes(self.budget)}."
                )
            self._leave(next((each for each in idle if each.bytes >= short), idle[-1]))

    def _enter(self, resident: Resident) -> None:
        if not self.device.is_host:
            resident.master = {name: tensor.data for name, tensor in _tensors(resident.module)}
            self.device.put(resident.module)
        resident.on_device = True

    def _leave(self, resident: Resident) -> None:
        for name, tensor in _tensors(resident.module):
            if name in resident.master:
                tensor.data = resident.master[name]
        resident.master = {}
        resident.on_device = False
        if self.device.is_host:  # there is no tier below but the file, which stays mapped
            self._residents = {key: each for key, each in self._residents.items() if each is not resident}


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def _weight(module: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for _, tensor in _tensors(module))


def _gigabytes(count: int) -> str:
    return f"{count / 1024**3:.1f} GB" if count >= 2**29 else f"{count / 1024**2:.0f} MB"
