"""Models are lent: `with memory.use(part) as net` is the only way to hold one.

Weights do not change while serving, so leaving the device is dropping the copy and pointing back at the file or at the
host's master: nothing is ever copied back. It does not know what the parts are for.
"""

import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from pipelines.device import Device, is_shortage
from pipelines.estimate import Ledger
from pipelines.notes import Notes
from pipelines.parts import Part
from pipelines.resident import Resident, Rung
from pipelines.rooms import Rooms
from pipelines.work import Lending, Work

__all__ = ["Memory", "Resident", "Work"]

T = TypeVar("T")


class Memory:
    """The shared registry of loaded parts, within a budget of bytes on one device and another in host memory."""

    def __init__(
        self,
        device: Device | None = None,
        budget: int | None = None,
        ledger: Ledger | None = None,
        ram: int | None = None,
    ) -> None:
        self.device = device or Device()
        self.ledger = Ledger() if ledger is None else ledger
        self.check: Callable[[], None] = lambda: None  # called between blocks of a lent network; may raise to end it
        self._rooms = Rooms(self.device, budget, self.ledger, ram, lambda: self.check(), self._say)
        self._notes = Notes()
        self._lock = threading.RLock()
        self.estimates = 0  # of x0, that networks were asked for since the studio began; see `types.counted`
        self._clock = 0
        self._lent: list[Lending] = []
        self._remarks: dict[str, bool] = {}  # sentence -> whether it was heard

    @property
    def budget(self) -> int:
        """Bytes that weights, and what networks work with, may take on the device."""
        return self._rooms.budget

    @budget.setter
    def budget(self, count: int) -> None:
        self._rooms.budget = count

    def await_jobs(self, needs: Sequence[Collection[str]]) -> None:
        """Be told the keys of the parts that each waiting job will lend, the next one first: they leave last."""
        self._rooms.coming = needs

    @property
    def ram(self) -> int:
        """Bytes of host memory that masters may take."""
        return self._rooms.ram

    @contextmanager
    def use(self, part: Part) -> Iterator[Any]:
        """Lend `part` on the device until the block is left. Raises DoesNotFit, and what its loader raises."""
        with self._lock:
            lending = self._lend(part)
        try:
            yield lending.resident.module
        except BaseException as error:
            if self._rooms.short is None and is_shortage(error):
                self._rooms.short = lending
            raise
        finally:
            with self._lock:
                self._take_back(lending)

    @contextmanager
    def working(self, work: Work) -> Iterator[None]:
        """Until the block is left, room is made for this work, and its own parts are the last to be evicted. Raises
        DoesNotFit at once where one of its parts has no room here in any way."""
        self._rooms.work, self._rooms.short, self._remarks = work, None, {}
        try:
            with self._lock, torch.inference_mode(False), torch.no_grad():
                self._rooms.admit(work)
            yield
        finally:
            self._rooms.work = Work()

    def remarks(self) -> list[str]:
        """What a person should know about how the running job is fitted in, each sentence once."""
        with self._lock:
            fresh = [text for text, heard in self._remarks.items() if not heard]
            self._remarks |= dict.fromkeys(fresh, True)
        return fresh

    def is_short(self, error: Exception) -> bool:
        """Whether an error says that memory ran out."""
        return is_shortage(error)

    def foreseen(self, work: Work) -> list[str]:
        """What a person should know beforehand of how such a job would be fitted in; none where it simply fits."""
        return self._rooms.foreseen(work)

    def step_down(self, again: bool) -> bool:
        """After out of memory: everything idle leaves, and does not share the device again with the part that ran out,
        at pictures of this size. Where there was nothing, or it is short `again`, that part may no longer lie on the
        device as it did. False where nothing is left to try."""
        with self._lock:
            short, self._rooms.short = self._rooms.short, None
            crowded = [each for each in self._rooms.idle() if short is None or each is not short.resident]
            self.free()
        if short is None:
            return not again
        if crowded and not again:
            self._rooms.crowded.add((short.resident.part.key, short.pixels))
            return True
        self._rooms.failed.add((short.resident.part.key, short.pixels, short.rung))
        return not again or short.resident.rungs()[-1] > short.rung

    def recall(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gave the last time it was asked for `key`, or gives now; the oldest are forgotten."""
        return self._notes.recall(key, make)

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
        return self._rooms.number_type(part)

    def holds(self, part: Part) -> bool:
        """Whether lending `part` would load nothing."""
        resident = self.found(part)
        return resident is not None and resident.on_device

    def found(self, part: Part) -> Resident | None:
        """Where a part is, if it is loaded at all."""
        return self._rooms.residents.get((part.key, self.number_type(part)))

    def found_any(self, part: Part) -> Resident | None:
        """The same, whatever number type it is run in: to look at it without asking for one."""
        return next((each for each in self.residents() if each.part.key == part.key), None)

    def residents(self) -> list[Resident]:
        """What is loaded, in order of first loading."""
        return self._rooms.all()

    def used(self) -> int:
        """Bytes of weights on the device."""
        return self._rooms.used()

    def ram_used(self) -> int:
        """Bytes of host memory that masters take; on a device that is the host, there are none."""
        return self._rooms.ram_used()

    def keep(self, part: Part, kept: bool = True) -> None:
        """Have a part stay on the device once it is there, whoever else needs the room; or no longer."""
        (self._rooms.kept.add if kept else self._rooms.kept.discard)(part.key)

    def keeps(self, part: Part) -> bool:
        """Whether a part stays once it is on the device."""
        return part.key in self._rooms.kept

    def free(self, *parts: Part) -> int:
        """Let go of what is not lent, of everything or of some parts; returns the bytes of weights let go."""
        keys = {part.key for part in parts}
        with self._lock:
            idle = [each for each in self.residents() if not each.lent and (not parts or each.part.key in keys)]
            freed = sum(each.bytes for each in idle)
            for each in idle:
                self._rooms.drop(each)
            if not parts:
                self._notes.clear()
        self.device.collect()
        return freed

    def _say(self, sentence: str) -> None:
        self._remarks.setdefault(sentence, False)

    def _lend(self, part: Part) -> Lending:
        self._observe()
        with torch.inference_mode(False), torch.no_grad():  # other jobs may want gradients through these weights
            resident, rung = self._rooms.admitted(part)
        self._clock += 1
        resident.last_use, resident.lent = self._clock, resident.lent + 1
        for each in self._lent:
            each.mixed = True
        self.device.peak()  # what came in with the weights is none of a pass
        lending = Lending(resident, rung, self._rooms.work.pixels, self.device.used())
        self._lent.append(lending)
        return lending

    def _take_back(self, lending: Lending) -> None:
        self._observe()
        self._lent.remove(lending)
        lending.resident.lent -= 1
        if lending.most and lending.pixels and not lending.mixed and lending.rung <= Rung.STRIPED:
            work = self._rooms.work_name(lending.resident.part, lending.rung)
            self.ledger.note_peak(work, lending.pixels, max(lending.most - lending.before, 0))

    def _observe(self) -> None:
        """Have everything that is lent hear how much was in use since the last time."""
        most = self.device.peak() or 0
        for each in self._lent:
            each.most = max(each.most, most)
