"""The database behind a library: opened at first use, brought up to date, one transaction at a time."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, OperationalError

from pipelines.errors import StudioError
from pipelines.library.rows import HEAD

logger = logging.getLogger(__name__)
MIGRATIONS = Path(__file__).parent / "migrations"
PATIENCE = 30  # seconds that a transaction waits for another process
LOCK = 7_064_101  # PostgreSQL's advisory lock for whoever upgrades
DAMAGED = ("malformed", "not a database", "file is encrypted")


class Store:
    """One database: a SQLite file in the library's folder, or what `url` names. Threads and processes may share it."""

    def __init__(self, file: Path, url: str | None = None) -> None:
        self.file = file
        self._url = sa.make_url(url) if url else sa.URL.create("sqlite", database=str(file))
        if self._url.drivername in ("postgresql", "postgres"):
            self._url = self._url.set(drivername="postgresql+psycopg")
        self._engine: sa.Engine | None = None
        self._lock = threading.Lock()

    @property
    def is_file(self) -> bool:
        """The database is a file of this library."""
        return self._url.get_backend_name() == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of everything. Raises StudioError where the database does not answer."""
        with _sentences(), self._opened().begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction: all of it happens, or nothing. Raises StudioError where the disk is full."""
        with _sentences(), self._opened().execution_options(writes=True).begin() as connection:
            yield connection

    def settle(self) -> None:
        """Have what was deleted leave the log that SQLite writes ahead, too."""
        if self.is_file:
            with self._opened().connect() as connection:
                connection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # outside of a transaction

    def close(self) -> None:
        """Let go of every connection."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def _opened(self) -> sa.Engine:
        with self._lock:
            if self._engine is None:
                self._engine = self._upgraded()
            return self._engine

    def _upgraded(self) -> sa.Engine:
        """The engine, its tables those of this version. A file that is no database any more is put aside."""
        engine = self._made()
        try:
            upgrade(engine)
        except DatabaseError as error:
            if not self.is_file or not any(word in str(error) for word in DAMAGED):
                raise
            engine.dispose()
            aside = self.file.with_name(f"{self.file.name}.damaged-{int(time.time())}")
            self.file.rename(aside)
            logger.warning("%s is damaged. It is now %s; the pictures are listed anew.", self.file, aside.name)
            engine = self._made()
            upgrade(engine)
        return engine

    def _made(self) -> sa.Engine:
        if not self.is_file:
            return sa.create_engine(self._url, pool_pre_ping=True)
        engine = sa.create_engine(self._url, connect_args={"timeout": PATIENCE})
        sa.event.listen(engine, "connect", _prepared)
        sa.event.listen(engine, "begin", _begun)
        return engine


def _prepared(connection: Any, _: Any) -> None:
    """WAL: readers never wait for the writer. Transactions begin where we say, not where the driver guesses."""
    connection.isolation_level = None
    _write_ahead(connection)
    for pragma in (
        "synchronous=NORMAL",
        "secure_delete=ON",
        "cache_size=-65536",
        "mmap_size=268435456",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: Any) -> None:
    """Turn WAL on. SQLite waits for no other process in this: it is refused at once while one does the same."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.05)


def _begun(connection: sa.Connection) -> None:
    """A writer takes its turn at the beginning: one that reads first and writes later may be refused at once."""
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def upgrade(engine: sa.Engine) -> None:
    """Carry a database to the newest tables. Raises StudioError where it was written by a later version."""
    with engine.connect() as connection:
        if _revision(connection) == HEAD:
            return
    with engine.execution_options(writes=True).begin() as connection:  # one process upgrades, others wait
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
        if _revision(connection) != HEAD:
            _carry(connection)


def _carry(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StudioError(f"This library was written by a later version of Palimpsest ({error}).") from None


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.scalar(sa.text("SELECT version_num FROM alembic_version"))


@contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        logger.warning("The library's database failed: %s", error)
        if "full" in str(error):
            raise StudioError(
                "The disk is full: the library cannot note this. Free some space and try again."
            ) from None
        raise StudioError("The library's database does not answer; the log says why.") from None
