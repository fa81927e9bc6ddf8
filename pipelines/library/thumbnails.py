"""Small pictures of large ones, made once and named by the content they show."""

from __future__ import annotations

import io
from pathlib import Path

from pipelines.errors import BadPicture

LONGER = 320  # pixels of the longer side: a cell of the grid on a fine screen
QUALITY = 80


class Thumbnails:
    """A folder of WebP files, in subfolders by the first two letters of the digest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Where the thumbnail of a file with that sha256 lies, whether it is there or not."""
        return self.folder / digest[:2] / f"{digest[:32]}.webp"

    def of(self, file: Path, digest: str) -> Path | None:
        """The thumbnail of a picture file, made now if it was not; None where the picture cannot be read."""
        from PIL import Image

        from pipelines.pictures import opened, write

        path = self.path(digest)
        if path.exists():
            return path
        try:
            small = opened(file).convert("RGB")
            small.thumbnail((LONGER, LONGER), Image.Resampling.LANCZOS)
            content = io.BytesIO()
            small.save(content, "WEBP", quality=QUALITY, method=2)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write(path, content.getvalue())
        except (BadPicture, OSError):  # a full disk shows no small picture and loses no large one
            return None
        return path

    def forget(self, digest: str) -> None:
        """Delete a thumbnail."""
        self.path(digest).unlink(missing_ok=True)
