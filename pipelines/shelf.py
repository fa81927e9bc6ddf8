"""Pictures that requests refer to: sources, masks, references. A request holds a name, never a path; the name is the
digest of the content, so that equal pictures are kept once and a name never comes to mean another picture.
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipelines.errors import BadRequest, StudioError

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.workshop import Workshop

MISSING = "The picture that this request names is not here. Choose it again."
MODES = ("L", "RGB", "RGBA")  # what is kept; the rest becomes one of these


class Shelf(Protocol):
    """Where a task finds the pictures that its request names."""

    def open(self, name: str) -> Image:
        """The picture of that name, mode L, RGB or RGBA, upright. Raises BadRequest."""

    def size(self, name: str) -> tuple[int, int]:
        """Its width and height, of which no pixel is read. Raises BadRequest."""

    def put(self, picture: Image) -> str:
        """Keep a picture; returns its name. Raises StudioError where the disk will not take it."""

    def workshop(self) -> Workshop:
        """Where what is learned of these pictures lies. Raises StudioError where there is no such place."""


class FolderShelf:
    """A shelf that is a folder of PNG files without metadata."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, name: str) -> Image:
        """The picture of that name, mode L, RGB or RGBA, upright. Raises BadRequest."""
        from pipelines.pictures import opened

        return opened(self._path(name))

    def size(self, name: str) -> tuple[int, int]:
        """Its width and height, of which no pixel is read. Raises BadRequest."""
        from PIL.Image import open as header

        with header(self._path(name)) as picture:
            return picture.size

    def _path(self, name: str) -> Path:
        path = self.folder / f"{name}.png"
        if not re.fullmatch(r"[0-9a-f]{32}", name) or not path.exists():
            raise BadRequest(MISSING)
        return path

    def put(self, picture: Image) -> str:
        """Keep a picture; returns its name. Raises StudioError where the disk will not take it."""
        from pipelines.pictures import write

        plain = plainly(picture)
        file = io.BytesIO()
        plain.save(file, "PNG", compress_level=1, exif=b"", icc_profile=None)
        name = name_of(plain)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not (self.folder / f"{name}.png").exists():
                write(self.folder / f"{name}.png", file.getvalue())
        except OSError as error:
            raise StudioError(f"The picture could not be kept: {error.strerror or error}.") from None
        return name

    def workshop(self) -> Workshop:
        """Where what is learned of these pictures lies: beside them."""
        from pipelines.workshop import Workshop

        return Workshop(self.folder / "trainings", self.folder.parent / "adapters")


def name_of(picture: Image) -> str:
    """The name that a shelf gives to a picture of mode L, RGB or RGBA: the digest of mode, size and pixels."""
    return hashlib.sha256(f"{picture.mode} {picture.size}".encode() + picture.tobytes()).hexdigest()[:32]


def plainly(picture: Image) -> Image:
    """A picture in one of the modes that are kept; of 16 bits the upper 8 stay, of fractions 1 is white."""
    if picture.mode in MODES:
        return picture
    if picture.mode[0] in "IF":
        import numpy as np
        from PIL.Image import fromarray

        white = 1 if picture.mode == "F" else 65535
        levels = np.asarray(picture, np.float64) * (255 / white)
        return fromarray(levels.round().clip(0, 255).astype(np.uint8))
    if "A" in picture.getbands() or "transparency" in picture.info:
        return picture.convert("RGBA")
    return picture.convert("L" if picture.mode == "1" else "RGB")


class NoShelf:
    """A shelf with nothing on it, for requests that name no picture."""

    def open(self, name: str) -> Image:
        """Raises BadRequest."""
        raise BadRequest(MISSING)

    def size(self, name: str) -> tuple[int, int]:
        """Raises BadRequest."""
        raise BadRequest(MISSING)

    def put(self, picture: Image) -> str:
        """Raises StudioError."""
        raise StudioError("There is no place to keep a picture here.")

    def workshop(self) -> Workshop:
        """Raises StudioError."""
        raise StudioError("There is no place to keep what is learned here.")
