"""What a picture will cost, learned from this machine's own runs. It knows no model and no device."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLEND = 0.5  # how much a slower run counts: the machine may only have been busy; a faster one counts in full


@dataclass(frozen=True)
class Expectation:
    """Seconds until the last picture (None: never measured here), bytes of memory, and a remark for a person."""

    seconds: float | None
    bytes: int
    remark: str = ""


Table = dict[str, dict[int, float]]  # what was done -> pixels -> a figure


class Ledger:
    """Seconds and peaks of memory by what was done and at how many pixels; kept in a file where one is named."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._seconds: Table = {}
        self._peaks: Table = {}
        self._settled: dict[str, str] = {}
        if file is not None and file.exists():
            self._read(file)

    def note(self, work: str, pixels: int, seconds: float) -> None:
        """Remember that one unit of `work` at `pixels` took so long."""
        known = self._seconds.setdefault(work, {})
        slower = seconds - known.get(pixels, seconds)
        known[pixels] = seconds - (1 - BLEND) * max(slower, 0.0)
        self._save()

    def seconds(self, work: str, pixels: int) -> float | None:
        """How long one unit takes; from the nearest size that was measured, in proportion to its pixels."""
        return _scaled(self._seconds.get(work), pixels)

    def note_peak(self, work: str, pixels: int, count: int) -> None:
        """Remember that `work` at `pixels` took so many bytes beside its weights; the most there ever was counts."""
        known = self._peaks.setdefault(work, {})
        if count > known.get(pixels, -1):
            known[pixels] = count
            self._save()

    def peak(self, work: str, pixels: int) -> int | None:
        """Bytes that `work` takes beside its weights; from the nearest size, in proportion to its pixels."""
        known = _scaled(self._peaks.get(work), pixels)
        return None if known is None else int(known)

    def settled(self, question: str, find: Callable[[], str]) -> str:
        """What was found once on this machine and holds from then on, so that a restart paints the same picture."""
        if question not in self._settled:
            self._settled[question] = find()
            self._save()
        return self._settled[question]

    def _save(self) -> None:
        if self._file is not None:
            self._write(self._file)

    def _read(self, file: Path) -> None:
        try:
            kept = json.loads(file.read_text())
            self._seconds, self._peaks = _table(kept["seconds"]), _table(kept["peaks"])
            self._settled = {str(name): str(each) for name, each in kept.get("settled", {}).items()}
        except (OSError, ValueError, TypeError, AttributeError, KeyError):
            self._seconds, self._peaks, self._settled = {}, {}, {}  # it is learned again within a picture

    def _write(self, file: Path) -> None:
        staged = file.with_suffix(".part")
        try:
            staged.write_text(json.dumps({"seconds": self._seconds, "peaks": self._peaks, "settled": self._settled}))
            staged.replace(file)
        except OSError:
            self._file = None  # a full disk costs the estimates their memory, not the picture


def _scaled(known: dict[int, float] | None, pixels: int) -> float | None:
    if not known:
        return None
    nearest = min(known, key=lambda each: abs(each - pixels))
    return known[nearest] * pixels / max(nearest, 1)


def _table(kept: Any) -> Table:
    return {str(work): {int(size): float(figure) for size, figure in sizes.items()} for work, sizes in kept.items()}
