"""The pictures of a library as rows: found by the page, marked, binned, and forgotten for good."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from pipelines.library.rows import parents, pictures
from pipelines.library.store import Store
from pipelines.library.thumbnails import Thumbnails


@dataclass(frozen=True)
class Wanted:
    """Which pictures somebody wants to see. `words` must all occur in the prompts; times are seconds since 1970."""

    words: str = ""
    task: str = ""
    model: str = ""
    since: float | None = None
    until: float | None = None
    favourite: bool = False
    binned: bool = False


@dataclass(frozen=True)
class Kept:
    """A picture of the library: its file, the request that paints it, and what is known of its making."""

    id: str
    owner: str
    file: Path
    digest: str
    pixels: str | None
    look: int | None
    bytes: int
    made: float
    task: str
    model: str
    prompt: str
    seed: int | None
    width: int
    height: int
    request: dict[str, Any]
    origin: dict[str, Any]
    seconds: float | None
    job: str
    favourite: bool
    binned: float | None


class Album:
    """Rows of pictures, always those of one owner. `folder` holds the files."""

    def __init__(self, store: Store, folder: Path, thumbnails: Thumbnails) -> None:
        self.store, self.folder, self.thumbnails = store, folder, thumbnails
        self.changes = 0  # grows with every change that this process makes, for pages that wait for one

    def add(self, values: dict[str, Any], names: Iterable[tuple[str, str]] = ()) -> str:
        """A row for a file; returns its id. A file is listed once, whoever comes first."""
        row = {"id": uuid.uuid4().hex, "favourite": False, "binned": None, **values}
        links = [{"child": row["id"], "role": role, "name": name} for role, name in dict.fromkeys(names)]
        try:
            with self.store.writing() as connection:
                connection.execute(pictures.insert(), row)
                if links:
                    connection.execute(parents.insert(), links)
        except IntegrityError:
            with self.store.writing() as connection:
                known = pictures.c.file == row["file"]
                connection.execute(pictures.update().where(known), {"owner": row["owner"], "job": row["job"]})
                row["id"] = connection.scalar(sa.select(pictures.c.id).where(known))
        self.changes += 1
        return str(row["id"])

    def page(self, owner: str, wanted: Wanted, start: int = 0, count: int = 60) -> list[Kept]:
        """Some of an owner's pictures, the newest first. Whatever has lost its file is left out."""
        query = sa.select(pictures).where(*_conditions(owner, wanted))
        query = query.order_by(pictures.c.made.desc(), pictures.c.id).offset(start).limit(count)
        with self.store.reading() as connection:
            found = [self._kept(row) for row in connection.execute(query)]
        return [each for each in found if each.file.exists()]

    def latest(self, owner: str, tasks: Sequence[str], count: int) -> list[Kept]:
        """The newest pictures of an owner by some tasks, less what is in the bin."""
        mine = (*_conditions(owner, Wanted()), pictures.c.task.in_(tasks))
        query = sa.select(pictures).where(*mine).order_by(pictures.c.made.desc(), pictures.c.id).limit(count)
        with self.store.reading() as connection:
            found = [self._kept(row) for row in connection.execute(query)]
        return [each for each in found if each.file.exists()]

    def count(self, owner: str, wanted: Wanted) -> int:
        """How many pictures `page` leafs through."""
        query = sa.select(sa.func.count()).select_from(pictures).where(*_conditions(owner, wanted))
        with self.store.reading() as connection:
            return connection.scalar(query) or 0

    def get(self, owner: str, id: str) -> Kept | None:
        """One picture of an owner; None where there is none of that id, or it is somebody else's."""
        return next(iter(self.some(owner, [id])), None)

    def some(self, owner: str, ids: Sequence[str]) -> list[Kept]:
        """Pictures of an owner by id, in the order of the ids; unknown ones are left out."""
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(pictures).where(*_these(owner, ids)))
            found = {row.id: self._kept(row) for row in rows}
        return [found[id] for id in dict.fromkeys(ids) if id in found and found[id].file.exists()]

    def having(self, owner: str, requests: Sequence[str]) -> list[Kept]:
        """The pictures of an owner that some requests painted, given as `json.dumps` writes them; none from the bin."""
        found: list[Kept] = []
        with self.store.reading() as connection:
            for some in (requests[k : k + 100] for k in range(0, len(requests), 100)):
                mine = (*_conditions(owner, Wanted()), pictures.c.request.in_(some))
                rows = connection.execute(sa.select(pictures).where(*mine).order_by(pictures.c.made))
                found += [self._kept(row) for row in rows]
        return [each for each in found if each.file.exists()]

    def of_digest(self, digest: str, owner: str | None = None) -> Kept | None:
        """The newest picture whose file, or whose pixels by the shelf's name, have that digest."""
        conditions = [sa.or_(pictures.c.digest == digest, pictures.c.pixels == digest)]
        conditions += [] if owner is None else [pictures.c.owner == owner]
        with self.store.reading() as connection:
            query = sa.select(pictures).where(*conditions).order_by(pictures.c.made.desc())
            row = connection.execute(query.limit(1)).first()
        return self._kept(row) if row else None

    def kinds(self, owner: str) -> dict[str, list[str]]:
        """The tasks and the models of an owner's pictures, by name."""
        with self.store.reading() as connection:
            return {
                name: sorted(connection.scalars(sa.select(column).where(pictures.c.owner == owner).distinct()))
                for name, column in (("task", pictures.c.task), ("model", pictures.c.model))
            }

    def favour(self, owner: str, ids: Sequence[str], on: bool = True) -> int:
        """Mark pictures as favourites, or no more; returns how many."""
        return self._change(owner, ids, {"favourite": on})

    def bin(self, owner: str, ids: Sequence[str]) -> int:
        """Put pictures into the bin, where they stay until it is emptied; returns how many."""
        return self._change(owner, ids, {"binned": time.time()})

    def restore(self, owner: str, ids: Sequence[str]) -> int:
        """Take pictures out of the bin; returns how many."""
        return self._change(owner, ids, {"binned": None})

    def erase(self, owner: str, ids: Sequence[str]) -> int:
        """Delete pictures for good: file, thumbnail and row; returns how many."""
        gone = 0
        for some in (ids[k : k + 500] for k in range(0, len(ids), 500)):
            with self.store.writing() as connection:
                rows = list(connection.execute(sa.select(pictures).where(*_these(owner, some))))
                for row in rows:
                    (self.folder / row.file).unlink(missing_ok=True)
                connection.execute(parents.delete().where(parents.c.child.in_([row.id for row in rows])))
                connection.execute(pictures.delete().where(*_these(owner, some)))
                gone += len(rows)
                self._forget_thumbnails(connection, {row.digest for row in rows})
        self.changes += 1
        self.store.settle()
        return gone

    def empty(self, owner: str) -> int:
        """Delete for good what is in an owner's bin; returns how many."""
        return self.erase(owner, self.ids(owner, Wanted(binned=True)))

    def ids(self, owner: str, wanted: Wanted) -> list[str]:
        """The ids of all pictures that `page` leafs through."""
        with self.store.reading() as connection:
            return list(connection.scalars(sa.select(pictures.c.id).where(*_conditions(owner, wanted))))

    def made_by(self, job: str) -> int:
        """How many pictures a job has made that were kept."""
        with self.store.reading() as connection:
            query = sa.select(sa.func.count()).select_from(pictures).where(pictures.c.job == job)
            return connection.scalar(query) or 0

    def bytes(self) -> int:
        """What the files of all pictures weigh."""
        with self.store.reading() as connection:
            return int(connection.scalar(sa.select(sa.func.sum(pictures.c.bytes))) or 0)

    def _change(self, owner: str, ids: Sequence[str], values: dict[str, Any]) -> int:
        with self.store.writing() as connection:
            changed = connection.execute(pictures.update().where(*_these(owner, ids)).values(values)).rowcount
        self.changes += 1
        return changed

    def _forget_thumbnails(self, connection: sa.Connection, digests: set[str]) -> None:
        still = set(connection.scalars(sa.select(pictures.c.digest).where(pictures.c.digest.in_(digests))))
        for digest in digests - still:
            self.thumbnails.forget(digest)

    def _kept(self, row: Any) -> Kept:
        values = dict(row._mapping)
        del values["words"]
        return Kept(
            **values
            | {
                "file": self.folder / row.file,
                "request": json.loads(row.request),
                "origin": json.loads(row.origin),
            }
        )


def _these(owner: str, ids: Sequence[str]) -> tuple[Any, ...]:
    return pictures.c.owner == owner, pictures.c.id.in_(list(ids))


def _conditions(owner: str, wanted: Wanted) -> list[Any]:
    held = pictures.c
    conditions = [held.owner == owner, held.binned.is_not(None) if wanted.binned else held.binned.is_(None)]
    conditions += [held.words.contains(word, autoescape=True) for word in wanted.words.casefold().split()[:20]]
    given = (
        (wanted.task, held.task == wanted.task),
        (wanted.model, held.model == wanted.model),
        (wanted.since is not None, held.made >= (wanted.since or 0)),
        (wanted.until is not None, held.made < (wanted.until or 0)),
        (wanted.favourite, held.favourite.is_(True)),
    )
    return conditions + [condition for asked, condition in given if asked]
