"""Who lies where: two budgets of bytes, the device's and the host's, and who has to go where one is short.

It is told how much a running job will need beside weights; what its parts are for, it does not know.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence

import torch
from torch import nn

from pipelines.device import Device, host_budget, is_shortage
from pipelines.errors import DoesNotFit
from pipelines.estimate import Ledger
from pipelines.parts import Part
from pipelines.resident import SAYS, Resident, Rung, about, own_type
from pipelines.stripes import PIXELS
from pipelines.work import Lending, Work

logger = logging.getLogger(__name__)
MAPS = 0.25  # feature maps of a picture's size and a part's width that one pass needs: 0.33 GB for SDXL at 1024 px
NARROWEST = 16  # an autoencoder that works in stripes still needs this part of its memory, where its maps are small
OTHERS_LEFT = "Other models left the device to make room."
TAKE_TURNS = "The networks of this model take turns on the device, for they do not fit together."


class Rooms:
    """Loaded parts by key and number type, each where there is room for it."""

    def __init__(
        self,
        device: Device,
        budget: int | None,
        ledger: Ledger,
        ram: int | None,
        check: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self.device, self.ledger, self._check, self._say = device, ledger, check, say
        self.budget = device.default_budget() if budget is None else budget
        self.ram = host_budget() if ram is None else ram
        self.residents: dict[tuple[str, torch.dtype], Resident] = {}
        self.seen: dict[tuple[str, torch.dtype], dict[Rung, int]] = {}  # footprints of all that was ever loaded
        self.kept: set[str] = set()
        self.work = Work()
        self.coming: Sequence[Collection[str]] = ()  # keys of what each job that waits will lend, the next one first
        self.short: Lending | None = None  # where memory ran out
        self.crowded: set[tuple[str, int]] = set()  # part and pixels at which it did, beside idle parts
        self.failed: set[tuple[str, int, Rung]] = set()  # and at which rung, with nothing else here

    def number_type(self, part: Part) -> torch.dtype:
        """The type this part is run in here."""
        kind = part.number_type or self.device.number_type(part.width)
        return torch.float32 if part.wide and kind == torch.float16 else kind

    def used(self) -> int:
        """Bytes of weights on the device."""
        return sum(each.taken for each in self.all())

    def ram_used(self) -> int:
        """Bytes of host memory that masters take."""
        return sum(each.ram for each in self.all())

    def all(self) -> list[Resident]:
        """What is loaded; another thread may ask, too, while something is being loaded."""
        return list(self.residents.values())

    def admitted(self, part: Part) -> tuple[Resident, Rung]:
        """A part on the device, at the highest rung that there is room for. Raises DoesNotFit."""
        key = (part.key, self.number_type(part))
        resident = self.residents.get(key) or self._loaded(part)
        if resident.rung is not None and resident.lent:
            return resident, resident.rung
        rung = self._rung(resident)
        if resident.rung not in (rung, None):
            resident = self._taken_back(resident, rung)
        needed = 0 if resident.on_device else resident.missing(rung)
        alone = (part.key, self.work.pixels) in self.crowded
        reserve = self._reserve(part, rung, Rung.STRIPED in resident.footprints, self.work)
        self._make_room(needed, self.budget if alone else reserve, resident)
        if not resident.on_device:
            self._enter(resident, rung)
        self.residents[key] = resident
        self._make_room_on_host(0)
        if rung in SAYS:
            self._say(SAYS[rung].format(part.name))
        return resident, rung

    def admit(self, work: Work) -> None:
        """Refuse a job of which one part can lie here in no way, before any is lent. Weights are opened only of what
        does not simply fit. Raises DoesNotFit."""
        for part in work.parts:
            key = (part.key, self.number_type(part))
            whole = part.elements * key[1].itemsize
            if whole > self.budget and own_type(part) is None:
                raise DoesNotFit(self._refusal(part, whole, 0))
            if whole > self.budget - self._kept_beside(part):
                self.residents[key] = self.residents.get(key) or self._loaded(part)
                self._highest(part, self.seen[key], self._kept_beside(part), work)

    def foreseen(self, work: Work) -> list[str]:
        """Sentences on how a job would be fitted in, or why it cannot be, as far as that is known; none where it fits.
        Nothing is loaded, so any thread may ask."""
        said, total, most = [], 0, 0
        try:
            for part in work.parts:
                kind = self.number_type(part)
                known = self.seen.get((part.key, kind))
                footprints = known or about(part, kind, self.device)  # of which nobody knows what a pass needs
                rung = self._highest(part, footprints, self._kept_beside(part), work if known else Work())
                said += [SAYS[rung].format(part.name)] if rung in SAYS else []
                reserve = self._reserve(part, rung, Rung.STRIPED in footprints, work)
                total, most = total + footprints[rung], max(most, self._kept_beside(part) + reserve)
        except DoesNotFit as error:
            return [str(error)]
        return said or [TAKE_TURNS] * (total + most > self.budget)

    def idle(self) -> list[Resident]:
        """What is on the device, whole or in part, and may leave it."""
        return [each for each in self.residents.values() if each.taken and not self._stays(each)]

    def drop(self, resident: Resident) -> None:
        """Let go of a part in every tier but its file."""
        resident.leave()
        resident.unsettle()
        self._forget(resident)

    def peak(self, part: Part, work: Work | None = None) -> int:
        """Bytes that one pass needs beside the weights: as measured, else as the part's width and type suggest."""
        work = work or self.work
        if not work.pixels:
            return 0
        measured = self.ledger.peak(self.work_name(part, work=work), work.pixels)
        if measured is not None:
            return measured
        return int(work.maps.get(part.key, MAPS) * work.pixels * part.width * self.number_type(part).itemsize)

    def work_name(self, part: Part, rung: Rung = Rung.WHOLE, work: Work | None = None) -> str:
        """What the ledger calls a pass of a part."""
        striped = " striped" if rung is Rung.STRIPED else ""
        apart = " with gradients" if (work or self.work).gradients else ""
        return f"{part.key} {self.number_type(part)} {self.device.torch}{striped}{apart}"

    def _taken_back(self, resident: Resident, rung: Rung) -> Resident:
        """A part off the device, to lie there in another way; opened again where it has no master any more."""
        if resident.is_whole and rung <= Rung.STRIPED:
            resident.shed(0)
            return resident
        resident.leave()
        if resident.has_master:
            return resident
        self._forget(resident)
        return self._loaded(resident.part)

    def _stays(self, resident: Resident) -> bool:
        return bool(resident.lent) or resident.part.key in self.kept

    def _loaded(self, part: Part) -> Resident:
        """A part from its file: mapped where that is possible, so that nothing has to leave for what may be broken."""
        part.check()
        if own_type(part) is None:  # it takes memory at once
            needed = part.elements * self.number_type(part).itemsize
            if needed > self.budget:
                raise DoesNotFit(self._refusal(part, needed, 0))
            if self.device.is_host:
                self._make_room(needed, 0, None)
            else:
                self._make_room_on_host(needed)
        resident = Resident(part, self.number_type(part), self.device, self._check)
        self.seen[part.key, resident.number_type] = resident.footprints
        self._watch(resident.module)
        return resident

    def _watch(self, module: nn.Module) -> None:
        """Have `check` called before every block, so that a stop need not wait for a slow network's end."""
        for blocks in module.modules():
            if isinstance(blocks, nn.ModuleList):
                for block in filter(None, blocks):  # diffusers leaves None where a block has no attention
                    block.register_forward_pre_hook(lambda *_: self._check())

    def _rung(self, resident: Resident) -> Rung:
        """The highest rung that fits beside what is lent and kept."""
        others = (each for each in self.residents.values() if each is not resident and self._stays(each))
        return self._highest(resident.part, resident.footprints, sum(each.taken for each in others), self.work)

    def _highest(self, part: Part, footprints: dict[Rung, int], busy: int, work: Work) -> Rung:
        """The highest rung at which a part fits beside so many bytes. Nobody is refused for what is only estimated."""
        room = self.budget - busy
        rungs = [each for each in footprints if (part.key, work.pixels, each) not in self.failed]
        for rung in rungs:
            if footprints[rung] + self._reserve(part, rung, Rung.STRIPED in footprints, work) <= room:
                return rung
        least = min(rungs or footprints, key=lambda each: (footprints[each], -each))
        if footprints[least] > room:
            raise DoesNotFit(self._refusal(part, footprints[least], busy))
        return least

    def _kept_beside(self, part: Part) -> int:
        """Bytes of what people have stay on the device, less that part."""
        return sum(each.taken for each in self.all() if each.part.key in self.kept and each.part.key != part.key)

    def _reserve(self, part: Part, rung: Rung, stripes: bool, work: Work) -> int:
        """Bytes to leave free while a part is lent: for one pass of it, and for what its job lends beside it."""
        pixels, peak = work.pixels, self.peak(part, work)
        if pixels and rung >= Rung.STRIPED and stripes:
            measured = self.ledger.peak(self.work_name(part, Rung.STRIPED, work), pixels)
            peak = max(peak * min(PIXELS, pixels) // pixels, peak // NARROWEST) if measured is None else measured
        return peak + (work.beside if part.key in work.maps else 0)

    def _make_room(self, needed: int, reserve: int, wanted: Resident | None) -> None:
        """Evict of what is idle as much as is short, parts of the running job last, until weights and reserve fit.
        Raises DoesNotFit where the weights alone do not; a reserve is only an estimate."""
        while (short := self.used() + needed + reserve - self.budget) > 0:
            idle = [each for each in self.idle() if each is not wanted]
            others = [each for each in idle if each.part.key not in self.work.maps]
            if not idle:
                break
            if self.work.maps:
                self._say(OTHERS_LEFT if others else TAKE_TURNS)
            leaving = self._leaving(others or idle, short)
            if leaving.can_shed:
                leaving.shed(short)
                continue
            leaving.leave()
            if self.device.is_host or not leaving.has_master:
                self._forget(leaving)
        if (busy := self.used()) + needed > self.budget:
            name = wanted.part if wanted else None
            raise DoesNotFit(self._refusal(name, needed, busy))

    def _leaving(self, able: list[Resident], short: int) -> Resident:
        """Who goes: what the waiting jobs need last; of that, what was unused for longest, where it can go bit by bit,
        and else what fits best."""
        turns = {each: self._turn(each.part.key) for each in able}
        last = [each for each in able if turns[each] == max(turns.values())]
        shedding = [each for each in last if each.can_shed]
        if shedding:
            return min(shedding, key=lambda each: each.last_use)
        return best_fit(last, short, lambda each: each.taken)

    def _turn(self, key: str) -> int:
        """How many jobs will run before one needs that part, as far as is known."""
        return next((turn for turn, keys in enumerate(self.coming) if key in keys), len(self.coming))

    def _enter(self, resident: Resident, rung: Rung) -> None:
        hot = resident.entered and resident.mapped and not self.device.is_host
        if hot and not resident.ram and self._make_room_on_host(resident.bytes):
            resident.settle()  # it came, went and comes again: from now on from host memory
        try:
            resident.enter(rung)
        except BaseException as error:
            if is_shortage(error):
                self.short = Lending(resident, rung, self.work.pixels)
            raise

    def _make_room_on_host(self, needed: int) -> bool:
        """Give up masters until so many bytes fit in host memory; False where that cannot be. What lies whole on the
        device does without one, and is opened from its file once it has left."""
        while (short := self.ram_used() + needed - self.ram) > 0:
            able = [each for each in self.residents.values() if each.ram and (each.is_whole or not each.lent)]
            if not able:
                return False
            leaving = best_fit(able, short, lambda each: each.ram)
            leaving.unsettle()
            if not leaving.on_device and not leaving.has_master:
                self._forget(leaving)
        return True

    def _forget(self, resident: Resident) -> None:
        self.residents = {key: each for key, each in self.residents.items() if each is not resident}

    def _refusal(self, part: Part | None, needed: int, busy: int) -> str:
        beside = f", {gigabytes(busy)} of it are taken by models in use" if busy else ""
        return (
            f"{part.name if part else 'A network'} needs {gigabytes(needed)} at the least; models may use "
            f"{gigabytes(self.budget)} here{beside}. A smaller model would fit, or a higher limit."
        )


def best_fit(able: Iterable[Resident], short: int, size: Callable[[Resident], int]) -> Resident:
    """The smallest that suffices, else the largest; of equals, the one unused for longest."""
    ranked = sorted(able, key=lambda each: (size(each), each.last_use))
    fallback = max(ranked, key=lambda each: (size(each), -each.last_use))
    return next((each for each in ranked if size(each) >= short), fallback)


def gigabytes(count: int) -> str:
    """Bytes as people say them."""
    return f"{count / 1024**3:.1f} GB" if count >= 2**29 else f"{count / 1024**2:.1f} MB"
