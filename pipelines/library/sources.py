"""The shelf of a library: pictures that requests name, one folder an owner, each noted in a row."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from pipelines.library.rows import parents, pictures, shelf
from pipelines.library.store import Store
from pipelines.shelf import FolderShelf

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.workshop import Workshop


class NotedShelf(FolderShelf):
    """A folder shelf whose pictures are rows, too, so that they are counted and can be swept."""

    def __init__(self, folder: Path, store: Store, owner: str) -> None:
        super().__init__(folder)
        self.store, self.owner = store, owner

    def put(self, picture: Image) -> str:
        """Keep a picture; returns its name. Raises StudioError where the disk will not take it."""
        name = super().put(picture)
        this = (shelf.c.owner == self.owner) & (shelf.c.name == name)
        size = (self.folder / f"{name}.png").stat().st_size
        try:
            with self.store.writing() as connection:
                if not connection.execute(shelf.update().where(this).values(put=time.time())).rowcount:
                    row = {"owner": self.owner, "name": name, "bytes": size, "put": time.time()}
                    connection.execute(shelf.insert(), row)
        except IntegrityError:  # another process has just put the same picture there
            pass
        return name

    def workshop(self) -> Workshop:
        """Where what is learned of these pictures lies: trainings beside them, adapters in the library's folder."""
        from pipelines.library.adapters import Adapters
        from pipelines.workshop import Workshop

        adapters = Adapters(self.store, self.folder.parents[1] / "adapters")
        note = partial(adapters.add, self.owner)
        return Workshop(self.folder / "trainings", adapters.folder, note)

    def sweep(self, before: float) -> int:
        """Delete pictures that were put here before then and that no picture of this owner came from."""
        return self._delete(shelf.c.put < before)

    def drop(self, names: list[str]) -> int:
        """Delete the pictures of these names that no picture of this owner came from; returns how many."""
        return sum(self._delete(shelf.c.name.in_(names[k : k + 500])) for k in range(0, len(names), 500))

    def _delete(self, which: sa.ColumnElement[bool]) -> int:
        mine = sa.select(pictures.c.id).where(pictures.c.owner == self.owner)
        used = sa.select(parents.c.name).where(parents.c.child.in_(mine))
        idle = (shelf.c.owner == self.owner) & which & shelf.c.name.not_in(used)
        with self.store.writing() as connection:
            names = list(connection.scalars(sa.select(shelf.c.name).where(idle)))
            for name in names:
                (self.folder / f"{name}.png").unlink(missing_ok=True)
                (self.folder / "small" / f"{name}.webp").unlink(missing_ok=True)
            connection.execute(shelf.delete().where(idle))
        return len(names)


def weight(store: Store) -> int:
    """Bytes of all shelves."""
    with store.reading() as connection:
        return int(connection.scalar(sa.select(sa.func.sum(shelf.c.bytes))) or 0)


def owners(store: Store) -> list[str]:
    """Everybody who has pictures on a shelf or in the album."""
    with store.reading() as connection:
        return sorted(
            {owner for table in (shelf, pictures) for owner in connection.scalars(sa.select(table.c.owner).distinct())}
        )
