"""Adapters as rows: what somebody taught a model, where the file lies, and the request that taught it."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines.errors import StudioError
from pipelines.library.rows import adapters
from pipelines.library.store import Store
from pipelines.models.adapters import adapters as registry


@dataclass(frozen=True)
class Adapter:
    """An adapter that is kept: its name, its file, the model it was taught to, and by what request."""

    id: str
    owner: str
    name: str
    file: Path
    base: str
    made: float
    request: dict[str, Any]


class Adapters:
    """The adapters of each owner. `folder` holds the files."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder

    def add(self, owner: str, name: str, file: str, base: str, request: dict[str, Any]) -> str:
        """A row for a file below `folder`; returns its id. Raises StudioError where the owner has one of that name."""
        row = {"id": uuid.uuid4().hex, "owner": owner, "name": name, "file": file, "base": base, "made": time.time()}
        try:
            with self.store.writing() as connection:
                gone = [each.id for each in self._rows(connection, owner) if not each.file.exists()]
                connection.execute(adapters.delete().where(adapters.c.id.in_(gone)))
                connection.execute(adapters.insert(), {**row, "request": json.dumps(request)})
        except sa.exc.IntegrityError:
            raise StudioError(f"There is an adapter called {name!r} already.") from None
        return str(row["id"])

    def all(self, owner: str) -> list[Adapter]:
        """An owner's adapters by name; what has lost its file is left out."""
        with self.store.reading() as connection:
            return [each for each in self._rows(connection, owner) if each.file.exists()]

    def _rows(self, connection: sa.Connection, owner: str) -> list[Adapter]:
        query = sa.select(adapters).where(adapters.c.owner == owner).order_by(adapters.c.name)
        rows = [dict(row._mapping) for row in connection.execute(query)]
        return [
            Adapter(**row | {"file": self.folder / row["file"], "request": json.loads(row["request"])}) for row in rows
        ]

    def erase(self, owner: str, id: str) -> bool:
        """Delete an adapter for good, its file too; False where there is none."""
        this = (adapters.c.owner == owner) & (adapters.c.id == id)
        with self.store.writing() as connection:
            file = connection.scalar(sa.select(adapters.c.file).where(this))
            if file:
                (self.folder / file).unlink(missing_ok=True)
                self._unregister(self.folder / file)
                connection.execute(adapters.delete().where(this))
        return file is not None

    def _unregister(self, file: Path) -> None:
        for name, spec in list(registry.items()):
            if spec.path == file:
                registry.remove(name)
