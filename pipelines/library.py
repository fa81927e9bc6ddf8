"""What was made: pictures on disk with their requests inside, and what each owner was last doing."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from pipelines.errors import StudioError
from pipelines.events import Painted
from pipelines.request import Request


class Library:
    """A folder of pictures, one subfolder a day, and a folder of settings, one file an owner."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pictures = folder / "pictures"
        self._settings = folder / "settings"
        for each in (self.pictures, self._settings):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)

    def keep(self, painted: Painted[Request], owner: str = "") -> Painted[Request]:
        """Write a picture; it is in its file from now on. Raises StudioError where the disk will not take it."""
        from pipelines.pictures import png, write

        content = png(painted)
        name = f"{time.strftime('%H%M%S')}-{painted.request.seed}-{hashlib.sha256(content).hexdigest()[:16]}.png"
        path = self.pictures / time.strftime("%Y-%m-%d") / name
        try:
            path.parent.mkdir(exist_ok=True, mode=0o700)
            write(path, content)
        except OSError as error:
            raise StudioError(f"The picture could not be kept: {error.strerror or error}.") from None
        return Painted(None, painted.request, str(path))

    def remember(self, owner: str, name: str, values: dict[str, Any]) -> None:
        """Keep what an owner's page should show when it comes back."""
        from pipelines.pictures import write

        write(self._file(owner, name), json.dumps(values).encode())

    def recall(self, owner: str, name: str) -> dict[str, Any]:
        """What was remembered, or nothing."""
        try:
            values = json.loads(self._file(owner, name).read_text())
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def _file(self, owner: str, name: str) -> Path:
        return self._settings / f"{hashlib.sha256(f'{owner}/{name}'.encode()).hexdigest()[:32]}.json"
