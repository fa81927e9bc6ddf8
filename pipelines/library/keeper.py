"""Who is at work on a library: each process holds a lock file, which the system lets go when the process dies."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # a system without file locks: one process at a time is assumed
    fcntl = None  # type: ignore[assignment]


class Keeper:
    """This process as others see it. `id` marks the jobs that are its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.id = folder, uuid.uuid4().hex
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._held: IO[Any] = (folder / self.id).open("w")
        self._held.write(str(os.getpid()))
        self._held.flush()
        if fcntl:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def is_gone(self, id: str) -> bool:
        """Whether the process that marked its jobs with `id` is no more; its lock file is removed then."""
        if id == self.id:
            return False
        path = self.folder / Path(id).name
        try:
            with path.open("r+") as file:
                if fcntl:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        path.unlink(missing_ok=True)
        return True

    def close(self) -> None:
        """Leave; what is marked as ours is anybody's from now on."""
        self._held.close()
        (self.folder / self.id).unlink(missing_ok=True)
