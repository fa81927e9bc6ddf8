"""What an owner's page should show when it comes back: settings by owner and name, as JSON."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from pipelines.library.rows import settings
from pipelines.library.store import Store


class Memos:
    """Rows of settings. `folder` is where versions before the database kept them, one file each."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder

    def remember(self, owner: str, name: str, values: dict[str, Any]) -> None:
        """Keep values under a name, in place of what was kept there."""
        this = (settings.c.owner == owner) & (settings.c.name == name)
        held = {"content": json.dumps(values), "changed": time.time()}
        update = settings.update().where(this).values(held)
        try:
            with self.store.writing() as connection:
                if not connection.execute(update).rowcount:
                    connection.execute(settings.insert(), {"owner": owner, "name": name, **held})
        except IntegrityError:  # another process was first
            with self.store.writing() as connection:
                connection.execute(update)

    def recall(self, owner: str, name: str) -> dict[str, Any]:
        """What was remembered, or nothing."""
        with self.store.reading() as connection:
            this = (settings.c.owner == owner) & (settings.c.name == name)
            content = connection.scalar(sa.select(settings.c.content).where(this))
        try:
            values = json.loads(content if content is not None else self._file(owner, name).read_text())
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def _file(self, owner: str, name: str) -> Path:
        return self.folder / f"{hashlib.sha256(f'{owner}/{name}'.encode()).hexdigest()[:32]}.json"
