"""Fetching an offer of the Hub into a folder: it goes on where it broke off, is checked, and appears at once or not."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import BadCheckpoint, StudioError
from pipelines.models import load_folder
from pipelines.models.headers import recognised
from pipelines.models.hub import Offer, free_bytes, refuse_large, stream
from pipelines.models.variants import Remote, plain_name

STAGED = ".downloads"  # below the models folder: what is not whole yet
SOURCE = "source.json"  # in a checkpoint's folder, or beside a file: where it came from
PLACES = {"checkpoint": "checkpoints", "lora": "loras", "vae": "vae", "embedding": "embeddings"}
TRIES = 5  # of a transfer that brings nothing more, before it is given up
PAUSE = 1.0  # seconds before the second try; doubled each time


@dataclass(frozen=True)
class Transfer:
    """How far a download is: bytes done and in all, and the file in progress."""

    done: int
    total: int
    file: str


Fetching = Generator[Transfer, None, Path]


def fetch(found: Offer, folder: Path, free: Callable[[Path], int] = free_bytes, pause: float = PAUSE) -> Fetching:
    """Fetch an offer into `folder`; yields how far it is and returns where it lies. Closing it keeps what has come.

    Raises StudioError with a sentence: no room, broken off, damaged, refused by the Hub or by the studio.
    """
    staged = folder / STAGED / found.id.replace("/", "--")
    try:
        staged.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = sum(_held(staged, each) for each in found.files)
        refuse_large(found, folder, found.bytes - held, free)
        before = 0
        for each in found.files:
            yield from _one(found, each, staged, before, pause)
            before += each.size
        return _published(found, staged, folder)
    except OSError as error:
        raise StudioError(f"{found.id} could not be written to {folder}: {error.strerror or error}.") from None


def _held(staged: Path, remote: Remote) -> int:
    """Bytes of a file that are here already."""
    whole = staged / remote.local
    part = _part(whole)
    return remote.size if whole.exists() else min(part.stat().st_size, remote.size) if part.exists() else 0


def _one(found: Offer, remote: Remote, staged: Path, before: int, pause: float) -> Generator[Transfer, None, None]:
    whole = staged / remote.local
    if whole.exists():
        return
    part = _part(whole)
    part.parent.mkdir(parents=True, exist_ok=True)
    failed = 0
    while (held := part.stat().st_size if part.exists() else 0) < remote.size or not part.exists():
        try:
            for done in _more(found, remote, part, held):
                yield Transfer(before + done, found.bytes, remote.path)
        except ConnectionError:
            pass
        failed = failed + 1 if (part.stat().st_size if part.exists() else 0) <= held < remote.size else 0
        if failed == TRIES:
            share = 100 * (before + held) // max(found.bytes, 1)
            raise StudioError(f"The transfer of {found.id} broke off at {share} %; download again to go on from there.")
        if failed:
            time.sleep(pause * 2 ** (failed - 1))
    _check(found, remote, part)
    part.replace(whole)


def _more(found: Offer, remote: Remote, part: Path, held: int) -> Generator[int, None, None]:
    """Fetch what is missing of a file; yields the bytes held. Raises ConnectionError where the line breaks."""
    import httpx

    try:
        with stream(found, remote, held) as (start, chunks), part.open("r+b" if held else "wb") as file:
            file.seek(start)
            file.truncate()
            for chunk in chunks:
                file.write(chunk)
                yield file.tell()
    except httpx.HTTPError as error:
        raise ConnectionError(str(error)) from None


def _check(found: Offer, remote: Remote, part: Path) -> None:
    """Raises StudioError where what came is not what was named; it is thrown away."""
    right = part.stat().st_size == remote.size
    if right and remote.sha256:
        with part.open("rb") as file:
            right = hashlib.file_digest(file, "sha256").hexdigest() == remote.sha256
    if not right:
        part.unlink()
        raise StudioError(f"{remote.path} of {found.id} arrived damaged; download it again.")


def _published(found: Offer, staged: Path, folder: Path) -> Path:
    """Check what came as any checkpoint or file is checked, and move it to its place."""
    source = json.dumps({"hub": found.id, "revision": found.revision, "licence": found.licence})
    try:
        if found.is_folder:
            _rename_shards(staged)
            load_folder(staged, found.name)
            (staged / SOURCE).write_text(source, encoding="utf-8")
            return _moved(staged, folder / found.name, found)
        file = staged / found.files[0].local
        target = folder / PLACES[recognised(file).what] / f"{found.name}.safetensors"
        target.parent.mkdir(parents=True, exist_ok=True)
        moved = _moved(file, target, found)
        target.with_name(f"{target.stem}.{SOURCE}").write_text(source, encoding="utf-8")
        shutil.rmtree(staged, ignore_errors=True)
        return moved
    except BadCheckpoint:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def _moved(source: Path, target: Path, found: Offer) -> Path:
    if target.exists():
        raise StudioError(f"There is a {target.name} in {target.parent} already; remove it to have that of {found.id}.")
    return source.replace(target)


def _rename_shards(staged: Path) -> None:
    """An index names its shards as they are called here."""
    for index in staged.glob("*/*.safetensors.index.json"):
        said = json.loads(index.read_text(encoding="utf-8"))
        said["weight_map"] = {key: plain_name(str(name)) for key, name in said.get("weight_map", {}).items()}
        index.write_text(json.dumps(said), encoding="utf-8")


def _part(whole: Path) -> Path:
    return whole.with_name(f"{whole.name}.part")
