"""Our files as a page finds them, and small."""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from urllib.parse import quote

from PIL import Image

THUMB = 192  # pixels of the longer side in the film strip


def address(file: str) -> str:
    """Where a page finds one of our files, seen from the page, so that it holds behind any proxy."""
    return f"gradio_api/file={quote(file)}"


@lru_cache(512)
def thumb(file: str) -> str:
    """A picture file as a small data URI; empty where the file is gone."""
    try:
        with Image.open(file) as picture:
            small = picture.convert("RGB")
    except OSError:
        return ""
    small.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
    return jpeg(small, 85)


@lru_cache(512)
def size(file: str) -> tuple[int, int]:
    """Width and height of a picture file; nothing is decoded. (0, 0) where the file is gone."""
    try:
        with Image.open(file) as picture:
            return picture.size
    except OSError:
        return 0, 0


def jpeg(picture: Image.Image, quality: int) -> str:
    """A picture as a data URI."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
