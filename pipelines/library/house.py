"""Keeping house: temporary files are swept, old pictures leave where the host wants that, room is counted."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import sqlalchemy as sa

from pipelines.library.rows import pictures
from pipelines.library.sources import owners, weight

if TYPE_CHECKING:
    from pipelines.library import Library

GIB = 1024**3
DAY = 86400
STALE = 3600  # seconds after which a half-written file or an export is nobody's any more
NEAR = 0.9  # of the quota; from here on the person is told
LEAST = 2**28  # bytes that must be free on the disk before a job begins
UPLOADS = "palimpsest-"  # of a studio's folder of uploads, followed by its process id


@dataclass(frozen=True)
class Room:
    """How much the library holds, and how much it may hold: bytes, None for as much as the disk has."""

    used: int
    quota: int | None
    free: int

    @property
    def is_full(self) -> bool:
        """Nothing more can be kept."""
        return self.free < LEAST or (self.quota is not None and self.used >= self.quota)

    def warning(self) -> str:
        """A sentence where the end is near; empty where it is not."""
        if self.free < LEAST:
            return f"The disk has only {spoken(self.free)} left. Free some space, or empty the bin of the gallery."
        if self.quota is None or self.used < NEAR * self.quota:
            return ""
        share = f"{spoken(self.used)} of {spoken(self.quota)}"
        if self.used >= self.quota:
            return f"The library is full ({share}). Delete pictures and empty the bin, or raise the quota."
        return f"The library is nearly full ({share})."


def room(library: Library) -> Room:
    """What the library weighs now."""
    used = library.album.bytes() + weight(library.store)
    return Room(used, library.quota, shutil.disk_usage(library.folder).free)


def keep(library: Library) -> None:
    """Do all that is due: sweep, and let go of what is older than the host keeps."""
    for file in dict.fromkeys(_stale(library)):  # a half-written export is both
        file.unlink(missing_ok=True)
        if file.parent.parent == library.exports and not any(file.parent.iterdir()):
            file.parent.rmdir()
    before = None if library.retention is None else time.time() - library.retention * DAY
    library.tickets.sweep(before)
    if before is None:
        return
    for owner in owners(library.store):
        old = (pictures.c.owner == owner, pictures.c.made < before, pictures.c.favourite.is_(False))
        with library.store.reading() as connection:
            ids = list(connection.scalars(sa.select(pictures.c.id).where(*old)))
        library.erase(owner, ids)
        library.shelf(owner).sweep(before)


def _stale(library: Library) -> Iterator[Path]:
    before = time.time() - STALE
    parts = (path for path in library.folder.rglob(".*.part"))
    exports = library.exports.rglob("*")
    for path in (*parts, *exports):
        if path.is_file() and path.stat().st_mtime < before:
            yield path


def sweep_uploads(folder: Path | None = None) -> int:
    """Remove the upload folders of studios that are gone; returns how many."""
    removed = 0
    for path in (folder or Path(tempfile.gettempdir())).glob(f"{UPLOADS}*"):
        pid = path.name.removeprefix(UPLOADS).split("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
    return removed


def spoken(count: float) -> str:
    """Bytes as people say them."""
    return f"{count / GIB:.1f} GB" if count >= GIB / 10 else f"{count / 2**20:.0f} MB"
