"""Pictures that lie in the folder and are no rows yet: a library of files only, or what a crash came between."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from PIL import Image

from pipelines.errors import BadPicture
from pipelines.library.album import Album
from pipelines.library.lineage import names_in
from pipelines.library.rows import pictures

logger = logging.getLogger(__name__)


def take_in(album: Album, owner_of: Callable[[str], str]) -> int:
    """List every picture file that has no row; returns how many. `owner_of` says whose a job was.

    Only headers are read, so that thousands are quick; `complete` reads the rest.
    """
    with album.store.reading() as connection:
        known = set(connection.scalars(sa.select(pictures.c.file)))
    taken = 0
    for name in sorted(set(_files(album.folder)) - known):
        path = album.folder / name
        try:
            values, request = described(album.folder, path)
        except (BadPicture, OSError) as error:
            logger.warning("%s is not listed: %s", path.name, error)
            continue
        album.add({**values, "owner": owner_of(values["job"]) if values["job"] else ""}, names_in(request))
        taken += 1
    return taken


def _files(folder: Path) -> Iterator[str]:
    """The picture files below a folder as rows name them; what begins with a dot is being written."""
    for place, _, names in os.walk(folder):
        below = Path(place).relative_to(folder).as_posix()
        for name in names:
            if name.endswith(".png") and not name.startswith("."):
                yield name if below == "." else f"{below}/{name}"


def complete(album: Album, some: int = 100) -> int:
    """Read the pixels of up to so many listed pictures whose digest is not known yet; returns how many it found."""
    with album.store.reading() as connection:
        query = sa.select(pictures.c.id, pictures.c.file).where(pictures.c.pixels.is_(None)).limit(some)
        rows = list(connection.execute(query))
    for row in rows:
        try:
            seen = looks(album.folder / row.file)
        except (BadPicture, OSError):
            seen = {"pixels": "", "look": None}  # it is not asked again
        with album.store.writing() as connection:
            connection.execute(pictures.update().where(pictures.c.id == row.id).values(seen))
    return len(rows)


def looks(file: Path) -> dict[str, Any]:
    """What a picture file shows: the name of its pixels and its perceptual hash."""
    from pipelines.likeness import look
    from pipelines.pictures import opened
    from pipelines.shelf import name_of

    picture = opened(file)
    return {"pixels": name_of(picture), "look": look(picture)}


def described(folder: Path, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A row for a picture file of ours, and its request. Raises BadPicture where it carries none, or is cut off."""
    import hashlib

    from pipelines.pictures import ORIGIN, recipe_of

    content = path.read_bytes()
    if not content.endswith(b"IEND\xaeB`\x82"):
        raise BadPicture("The picture is damaged: it could not be read to its end.")
    with Image.open(path, formats=["PNG"]) as picture:
        request = recipe_of(picture.info)
        origin = read_json(picture.info.get(ORIGIN, ""))
        width, height = picture.size
    return row(request, origin, width, height) | {
        "file": path.relative_to(folder).as_posix(),
        "digest": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "made": path.stat().st_mtime,
    }, request


def row(request: dict[str, Any], origin: dict[str, Any], width: int, height: int) -> dict[str, Any]:
    """The columns that follow from a request and its origin."""
    seed = request.get("seed")
    prompts = [storable(request.get(name, "")) for name in ("prompt", "negative_prompt")]
    return {
        "task": storable(request.get("task", ""))[:80],
        "model": storable(request.get("model", ""))[:200],
        "prompt": prompts[0],
        "words": " ".join(prompts).casefold(),
        "seed": seed if isinstance(seed, int) and abs(seed) < 2**63 else None,
        "width": width,
        "height": height,
        "request": json.dumps(request),
        "origin": json.dumps(origin),
        "job": storable(origin.get("job", ""))[:32],
        "seconds": None,
    }


def storable(text: Any) -> str:
    """Text that every database takes: no NUL, no half of a surrogate pair; empty for what is no text."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8") if isinstance(text, str) else ""


def read_json(text: Any) -> dict[str, Any]:
    """An object from JSON; empty where there is none."""
    try:
        values = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
