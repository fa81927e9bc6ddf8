"""A part that is loaded, and the tiers its weights lie in: the file, which stays mapped; a copy in host memory, locked
where that speeds up the bus; the device. Weights do not change while serving, so each tier is left by dropping a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import IntEnum
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipelines.device import SMALL, Device, packed, room
from pipelines.parts import Part
from pipelines.shuttle import SHARE, Shuttle, blocks_of, point, tensors_of
from pipelines.stripes import can_stripe, striped

SLICES = 16  # of the weights of a part, each an allocation of its own, so that it can leave the device bit by bit
STORED = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class Rung(IntEnum):
    """How a part lies on the device: each takes less memory than the one before, and more time."""

    WHOLE = 0
    STRIPED = 1  # an autoencoder that makes its pictures in stripes
    SMALL = 2  # weights in 8 bits; a block is made whole while it runs
    STREAMED = 3  # a block is fetched while it runs


SAYS = {
    Rung.STRIPED: "{} works in stripes, for memory is short.",
    Rung.SMALL: "{} is held in 8-bit numbers to fit in memory; the picture differs slightly.",
    Rung.STREAMED: "{} is fetched block by block to fit in memory, which takes longer.",
}


def own_type(part: Part) -> torch.dtype | None:
    """The one number type that a part's files are in; None where they mix several, or nobody knows."""
    floats = [STORED[name] for name in part.stored if name in STORED]
    return floats[0] if len(floats) == 1 and not any(name.startswith("F8") for name in part.stored) else None


def about(part: Part, number_type: torch.dtype, device: Device) -> dict[Rung, int]:
    """What the weights of a part that was never loaded will take on the device at each rung, about."""
    whole = part.elements * number_type.itemsize
    found = {Rung.WHOLE: whole}
    if device.holds_small and number_type.itemsize > SMALL.itemsize:
        found[Rung.SMALL] = part.elements * SMALL.itemsize + whole // SHARE
    if not device.is_host or own_type(part) is not None:
        found[Rung.STREAMED] = whole // (2 * SHARE)
    return found


class Resident:
    """One loaded part. `bytes` is what its weights take whole, `on_device` what they take on the device now."""

    def __init__(self, part: Part, number_type: torch.dtype, device: Device, check: Callable[[], None]) -> None:
        self.part, self.number_type, self.device, self._check = part, number_type, device, check
        own = own_type(part)
        self.mapped = own is not None
        self.module = part.load(own or number_type).eval().requires_grad_(False)
        self._tensors = tensors_of(self.module)
        self._kinds = _kinds(self.module, self._tensors, number_type)
        self._kind = {id(tensor): kind for tensor, kind in zip(self._tensors, self._kinds, strict=True)}
        self._file: list[Tensor] | None = [each.data for each in self._tensors]
        self._held: list[Tensor] = []  # the copy in host memory, carved from:
        self._buffer: Tensor | None = None
        self._locked = False
        self._blocks = blocks_of(self.module)
        self._stripes = can_stripe(self.module)
        self.footprints = {rung: self._reckoned(rung) for rung in self.rungs()}
        self._slices = [] if device.is_host else self._sliced()
        self._present: set[int] = set()  # slices on the device
        self._undo = ExitStack()
        self.rung: Rung | None = None
        self.lent = self.last_use = self.entered = 0

    @property
    def bytes(self) -> int:
        """What the weights take whole, in the type they are run in."""
        return self.footprints[Rung.WHOLE]

    @property
    def on_device(self) -> bool:
        """Whether it can be lent without moving anything."""
        return self.rung is not None

    @property
    def is_whole(self) -> bool:
        """Whether all of its weights are on the device, so that it works without a master."""
        return self.rung in (Rung.WHOLE, Rung.STRIPED)

    @property
    def taken(self) -> int:
        """Bytes of weights on the device now, those among them that were left there for its return."""
        left = sum(self._weight(self._tensors[self._slices[k]]) for k in list(self._present))
        return left if self.rung is None else self.footprint(self.rung)

    @property
    def can_shed(self) -> bool:
        """Whether a piece of it can leave the device, and the rest wait there for its return."""
        return len(self._present) > 1 and self.has_master

    def missing(self, rung: Rung) -> int:
        """Bytes that have yet to come for it to lie on the device at a rung."""
        return self.footprint(rung) - (self.taken if rung <= Rung.STRIPED else 0)

    @property
    def ram(self) -> int:
        """Bytes of host memory that belong to it alone; what is only mapped from a file is not counted."""
        if self.device.is_host:
            return 0  # counted as the device's
        private = not self.mapped and self._file is not None
        return (0 if self._buffer is None else self._buffer.nbytes) + (self.bytes if private else 0)

    @property
    def has_master(self) -> bool:
        """Whether it can leave the device and come back without its file being opened again."""
        return self._file is not None or self._buffer is not None

    def rungs(self) -> list[Rung]:
        """The ways in which it can lie on this device, that with most memory first."""
        found = [Rung.WHOLE]
        if self._stripes:
            found.append(Rung.STRIPED)
        if self._blocks and self.device.holds_small and self.number_type.itemsize > SMALL.itemsize:
            found.append(Rung.SMALL)
        if self._blocks and (self.mapped or not self.device.is_host):
            found.append(Rung.STREAMED)
        return found

    def footprint(self, rung: Rung) -> int:
        """Bytes that its weights take on the device at a rung, the block that is ready with them."""
        return self.footprints[rung]

    def enter(self, rung: Rung) -> None:
        """Put it on the device. Where that fails, it is where it was before."""
        if rung > Rung.STRIPED:
            self.leave()
        try:
            {Rung.SMALL: self._enter_small, Rung.STREAMED: self._enter_streamed}.get(rung, self._enter_whole)()
            if rung >= Rung.STRIPED and self._stripes:
                self._undo.enter_context(striped(self.module, self._check))
        except BaseException:
            self.leave()
            raise
        self.rung, self.entered = rung, self.entered + 1

    def leave(self) -> None:
        """Drop what is on the device."""
        self._undo.close()
        self.rung = None
        self._present.clear()
        if self.has_master:
            point(self._tensors, self._master())

    def shed(self, count: int) -> None:
        """Drop at least so many bytes of what is on the device, and as little more as may be."""
        self._undo.close()
        self.rung = None
        for k in sorted(self._present, reverse=True):
            if count <= 0:
                break
            piece = self._slices[k]
            count -= self._weight(self._tensors[piece])
            self._present.remove(k)
            point(self._tensors[piece], self._master()[piece])

    def settle(self) -> None:
        """Keep a copy in host memory, in the types it is run in and locked where that helps."""
        if self._buffer is not None or self.device.is_host or self._file is None:
            return
        self._buffer, self._held = packed(self._file, self._kinds)
        self._locked = self.device.lock(self._buffer)
        if not self.mapped:
            self._file = None
        if self.rung is None:
            self._rest()

    def unsettle(self) -> None:
        """Give back its host memory: it is in its file, and maybe on the device."""
        if self._locked and self._buffer is not None:
            self.device.unlock(self._buffer)
        self._buffer, self._held, self._locked = None, [], False
        if not self.mapped:
            self._file = None
        elif self.rung is None:
            self._rest()

    def _rest(self) -> None:
        """What is not on the device is what its master says."""
        for k, piece in enumerate(self._slices or [slice(None)]):
            if k not in self._present:
                point(self._tensors[piece], self._master()[piece])

    def _master(self) -> list[Tensor]:
        return self._held or self._file or []

    def _enter_whole(self) -> None:
        if self.device.is_host:
            point(self._tensors, [each.to(kind) for each, kind in zip(self._master(), self._kinds, strict=True)])
        for k, piece in enumerate(self._slices):
            if k not in self._present:
                masters, kinds = self._master()[piece], self._kinds[piece]
                point(self._tensors[piece], self.device.fetched(masters, kinds, self._packed(piece)))
                self._present.add(k)

    def _packed(self, piece: slice) -> Tensor | None:
        """The bytes of the copy in host memory that hold a slice of the weights."""
        if self._buffer is None:
            return None
        start = room(self._held[: piece.start], self._kinds[: piece.start])
        return self._buffer[start : start + room(self._held[piece], self._kinds[piece])]

    def _sliced(self) -> list[slice]:
        """Runs of neighbouring weights, of about equal bytes."""
        starts, total = [0], 0
        most = self.bytes / SLICES
        for k, each in enumerate(self._tensors):
            if total and total + self._weight([each]) > most:
                starts, total = [*starts, k], 0
            total += self._weight([each])
        return [slice(*ends) for ends in pairwise([*starts, len(self._tensors)])]

    def _enter_streamed(self) -> None:
        moving = self._moving()
        self._fetch(lambda tensor: id(tensor) not in moving)
        self._shuttle(lambda tensors, rest: self._here(rest, [self._kind[id(each)] for each in tensors]))

    def _enter_small(self) -> None:
        moving = self._moving()
        self._fetch(lambda tensor: id(tensor) not in moving)
        for tensor, master, kind in zip(self._tensors, self._master(), self._kinds, strict=True):
            if id(tensor) in moving:  # one at a time, so that hardly more is ever here than in the end
                point([tensor], [self._here([master], [kind])[0].to(self._at_rest(tensor))])
        self._shuttle(lambda tensors, rest: [x.to(self._kind[id(each)]) for each, x in zip(tensors, rest, strict=True)])
        if self.device.is_host and not self.mapped:
            self._file = None  # it would be held twice

    def _shuttle(self, ready: Callable[[Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor]]) -> None:
        self._undo.callback(Shuttle(self._blocks, ready).undo)

    def _fetch(self, wanted: Callable[[Tensor], bool]) -> None:
        rows = [row for row in zip(self._tensors, self._master(), self._kinds, strict=True) if wanted(row[0])]
        point([row[0] for row in rows], self._here([row[1] for row in rows], [row[2] for row in rows]))

    def _here(self, masters: Sequence[Tensor], kinds: Sequence[torch.dtype]) -> list[Tensor]:
        if self.device.is_host:
            return [each.to(kind) for each, kind in zip(masters, kinds, strict=True)]
        return self.device.fetched(masters, kinds)

    def _moving(self) -> dict[int, Tensor]:
        return {id(each): each for block in self._blocks for each in tensors_of(block)}

    def _at_rest(self, tensor: Tensor) -> torch.dtype:
        """The type of a block's weight while the block rests in 8 bits: matrices and kernels only."""
        kind = self._kind[id(tensor)]
        return SMALL if tensor.dim() > 1 and kind.is_floating_point else kind

    def _reckoned(self, rung: Rung) -> int:
        if rung <= Rung.STRIPED:
            return self._weight(self._tensors)
        moving = self._moving()
        rest = self._weight([each for each in self._tensors if id(each) not in moving])
        largest = max(self._weight(tensors_of(block)) for block in self._blocks)
        if rung is Rung.STREAMED:
            return rest + largest
        return rest + largest + sum(each.numel() * self._at_rest(each).itemsize for each in moving.values())

    def _weight(self, tensors: Sequence[Tensor]) -> int:
        return sum(each.numel() * self._kind[id(each)].itemsize for each in tensors)


def _kinds(module: nn.Module, tensors: Sequence[Tensor], number_type: torch.dtype) -> list[torch.dtype]:
    """The type that each weight is run in: `number_type`, but for whole numbers and what its class keeps precise."""
    precise: set[int] = set()
    if number_type is torch.float16:
        for each in module.modules():
            names = getattr(each, "_keep_in_fp32_modules", None) or ()
            precise |= {id(x) for name, x in each.named_parameters() if set(name.split(".")) & set(names)}
    kept = [not x.is_floating_point() or id(x) in precise for x in tensors]
    return [x.dtype if keep else number_type for x, keep in zip(tensors, kept, strict=True)]
