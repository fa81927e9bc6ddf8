"""A PostgreSQL server of our own, in a folder of our own: the library's tests run on it as they run on SQLite."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

USER = "postgres"  # the server refuses to run as root


def program(name: str) -> str:
    """The path of one of the server's programs; Debian keeps them out of the way."""
    found = shutil.which(name) or next(
        iter(sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None
    )
    if found is None:
        raise FileNotFoundError(f"{name} is not here: bash tests/run installs PostgreSQL")
    return str(found)


def run(*command: str) -> None:
    as_server = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
    subprocess.run([*as_server, *command], check=True, stdout=subprocess.DEVNULL, cwd="/")


class Server:
    """A running server that is reached by a socket in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def database(self) -> str:
        """The URL of a fresh database."""
        name = f"library_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(host=str(self.folder), user=USER, dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql://{USER}@/{name}?host={self.folder}"


@contextmanager
def server() -> Iterator[Server]:
    """Start a server and stop it again; nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, USER)
    cluster = folder / "cluster"
    run(program("initdb"), "-D", str(cluster), "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
    settings = f"-k {folder} -c listen_addresses='' -c fsync=off -c full_page_writes=off"
    run(program("pg_ctl"), "-D", str(cluster), "-w", "-l", str(folder / "log"), "-o", settings, "start")
    try:
        yield Server(folder)
    finally:
        run(program("pg_ctl"), "-D", str(cluster), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
