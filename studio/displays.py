"""How a page shows the pictures on a shelf: where it finds them, and small ones of what is larger than any screen."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from pipelines.errors import StudioError
from pipelines.shelf import FolderShelf
from pipelines.tasks import parse
from pipelines.tasks.outpaint import Outpaint, sides
from studio.files import address

LONGEST = 2048  # pixels of the longer side that a page is sent
THUMB = 320  # of one among others
PLAIN = 4_000_000  # pixels; a picture with no more is sent as it is


def displayed(shelf: FolderShelf, name: str) -> dict[str, Any] | None:
    """A picture on a shelf as a canvas shows it; `clear` where parts are transparent. None where it is not there."""
    path = shelf.folder / f"{name}.png"
    try:
        width, height, clear = _measured(path)
        url = address(str(path if width * height <= PLAIN else _smaller(path)))
    except (OSError, StudioError):
        return None
    return {"name": name, "url": url, "width": width, "height": height, "clear": clear}


def drawn(shelf: FolderShelf, name: str) -> dict[str, Any] | None:
    """A mask on a shelf at its own size, or None."""
    path = shelf.folder / f"{name}.png"
    return {"name": name, "url": address(str(path))} if name and path.exists() else None


def before(request: dict[str, Any], shelf: FolderShelf) -> dict[str, Any] | None:
    """What a request begins with, and where in the result it lies: left, top, width, height in pixels of the `whole`.
    None where it begins with nothing."""
    name = request.get("source", "")
    shown = displayed(shelf, name) if name else None
    if shown is None:
        return None
    width, height = shown["width"], shown["height"]
    left, top, right, bottom = _edges(request, (width, height))
    whole = [width + left + right, height + top + bottom]
    return {"url": shown["url"], "left": left, "top": top, "width": width, "height": height, "whole": whole}


def _edges(request: dict[str, Any], size: tuple[int, int]) -> tuple[int, int, int, int]:
    try:
        asked = parse(request)
    except StudioError:
        return 0, 0, 0, 0
    return sides(asked, size) if isinstance(asked, Outpaint) else (0, 0, 0, 0)


def thumbnail(shelf: FolderShelf, name: str) -> str:
    """Where a page finds a small version of a picture on a shelf. Raises StudioError, OSError."""
    return address(str(_smaller(shelf.folder / f"{name}.png", THUMB)))


@lru_cache(256)
def _measured(path: Path) -> tuple[int, int, bool]:
    with Image.open(path) as picture:
        return (*picture.size, picture.mode == "RGBA")


def _smaller(path: Path, longest: int = LONGEST) -> Path:
    """A file with the picture at the size of a screen, or smaller, made once, in a folder beside it."""
    from pipelines.pictures import opened, write

    small = path.parent / "small" / f"{path.stem}-{longest}.webp"
    if not small.exists():
        picture = opened(path)
        picture.thumbnail((longest, longest), Image.Resampling.BOX, reducing_gap=2)
        content = io.BytesIO()
        picture.save(content, "WEBP", quality=88, method=0)
        small.parent.mkdir(exist_ok=True, mode=0o700)
        write(small, content.getvalue())
    return small
