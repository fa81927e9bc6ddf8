"""What a picture will cost, learned from this machine's own runs. It knows no model and no device."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

BLEND = 0.5  # how much a slower run counts: the machine may only have been busy; a faster one counts in full


@dataclass(frozen=True)
class Expectation:
    """Seconds until the last picture (None: never measured here), bytes of memory, and a remark for a person."""

    seconds: float | None
    bytes: int
    remark: str = ""


class Ledger:
    """Seconds per unit of work by what was done and at how many pixels; kept in a file where one is named."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._seconds: dict[str, dict[int, float]] = {}
        if file is not None and file.exists():
            self._read(file)

    def note(self, work: str, pixels: int, seconds: float) -> None:
        """Remember that one unit of `work` at `pixels` took so long."""
        known = self._seconds.setdefault(work, {})
        slower = seconds - known.get(pixels, seconds)
        known[pixels] = seconds - (1 - BLEND) * max(slower, 0.0)
        if self._file is not None:
            self._write(self._file)

    def seconds(self, work: str, pixels: int) -> float | None:
        """How long one unit takes; from the nearest size that was measured, in proportion to its pixels."""
        known = self._seconds.get(work)
        if not known:
            return None
        nearest = min(known, key=lambda each: abs(each - pixels))
        return known[nearest] * pixels / nearest

    def _read(self, file: Path) -> None:
        try:
            for work, sizes in json.loads(file.read_text()).items():
                self._seconds[str(work)] = {int(pixels): float(seconds) for pixels, seconds in sizes.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self._seconds = {}  # it is learned again within a picture

    def _write(self, file: Path) -> None:
        staged = file.with_suffix(".part")
        try:
            staged.write_text(json.dumps(self._seconds))
            staged.replace(file)
        except OSError:
            self._file = None  # a full disk costs the estimates their memory, not the picture
