"""What a picture file is: whether it was made here, by what request, and whether it is in the library."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from PIL.Image import open as header

from pipelines.errors import BadPicture
from pipelines.library.rows import pictures
from pipelines.likeness import ALIKE, distances, look
from pipelines.pictures import opened
from pipelines.recipes import read
from pipelines.shelf import name_of

if TYPE_CHECKING:
    from pipelines.library import Library


def verified(file: Path, library: Library | None = None) -> dict[str, Any]:
    """All that a file says of itself, all that its pixels say, and its likes in the library. Raises BadPicture."""
    from pipelines.credentials import credentials_in
    from pipelines.watermark import is_marked, score

    picture = opened(file)
    with header(file) as unread:  # what was turned upright has forgotten its format
        says: dict[str, Any] = {"file": file.name, "size": list(picture.size), "format": unread.format}
    try:
        reading = read(file)
        says |= {"made_by": reading.tool, "request": reading.request}
    except BadPicture:
        says |= {"made_by": None, "request": None}
    says |= {"marked": is_marked(picture), "mark_score": round(score(picture), 1), "credentials": credentials_in(file)}
    if library is not None:
        says |= known(library, file, name_of(picture) if picture.mode in ("L", "RGB", "RGBA") else "", look(picture))
    return says


def known(library: Library, file: Path, pixels: str, look: int, owner: str | None = None) -> dict[str, Any]:
    """Whether the library has that very file or those very pixels, and what in it looks alike."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    same = library.album.of_digest(digest, owner) or (library.album.of_digest(pixels, owner) if pixels else None)
    return {
        "in_library": same.file.name if same else None,
        "same_file": bool(same and same.digest == digest),
        "alike": alike(library, look, owner),
    }


def alike(library: Library, look: int, owner: str | None = None, most: int = 20) -> list[dict[str, Any]]:
    """Pictures that look nearly the same, the nearest first: id, file, and in how many of 64 bits they differ."""
    seen = (pictures.c.look.is_not(None), *(() if owner is None else (pictures.c.owner == owner,)))
    with library.store.reading() as connection:
        looks = set(connection.scalars(sa.select(pictures.c.look).where(*seen)))
        near = {each: bits for each, bits in distances(looks, look).items() if bits <= ALIKE}
        query = sa.select(pictures.c.id, pictures.c.file, pictures.c.look)
        rows = list(
            connection.execute(query.where(*seen, pictures.c.look.in_(sorted(near, key=near.__getitem__)[:most])))
        )
    found = [{"id": row.id, "file": row.file, "bits": near[row.look]} for row in rows]
    return sorted(found, key=lambda each: (each["bits"], each["id"]))[:most]
