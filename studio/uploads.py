"""Files that a page sent: known by where they lie, read once, then removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from pipelines.errors import BadPicture


def uploaded(path: str) -> Path:
    """An uploaded file by the path that its upload answered with. Raises BadPicture for every other path."""
    folder = Path(get_upload_folder()).resolve()
    try:
        file = Path(path).resolve()
        inside = file.is_relative_to(folder) and file.is_file()
    except (OSError, ValueError):
        inside = False
    if not inside:
        raise BadPicture("The picture did not arrive; drop it once more.")
    return file


def recipe_in(path: str) -> dict[str, Any]:
    """The recipe of an uploaded picture, as plain values; the upload is gone afterwards. Raises BadPicture."""
    from pipelines.pictures import recipe

    file = uploaded(path)
    try:
        return recipe(file)
    finally:
        file.unlink(missing_ok=True)
