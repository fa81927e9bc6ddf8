"""Files that a page sent: known by where they lie, read once, then removed."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gradio.utils import get_upload_folder
from PIL import Image

from pipelines.errors import BadPicture
from pipelines.shelf import MODES

if TYPE_CHECKING:
    from pipelines.recipes import Reading

Read = TypeVar("Read")
DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # modes of more than 8 bits a channel


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


def read_once(path: str, read: Callable[[Path], Read]) -> Read:
    """What `read` makes of an uploaded file, which is gone afterwards. Raises BadPicture."""
    file = uploaded(path)
    try:
        return read(file)
    finally:
        file.unlink(missing_ok=True)


def recipe_in(path: str) -> dict[str, Any]:
    """The recipe of an uploaded picture, as plain values; the upload is gone afterwards. Raises BadPicture."""
    return reading_in(path).request


def reading_in(path: str) -> Reading:
    """The settings of an uploaded picture, of ours or of another tool; the upload is gone then. Raises BadPicture."""
    from pipelines.recipes import read

    return read_once(path, read)


def picture_in(file: Path) -> tuple[Image.Image, str]:
    """The picture in a file: upright, L, RGB or RGBA, in the colours of a screen; and what a person should know of how
    it became so. Raises BadPicture."""
    from pipelines.pictures import opened

    notes = []
    with opened_header(file) as header:
        if getattr(header, "n_frames", 1) > 1 and header.format in ("GIF", "PNG", "WEBP", "TIFF"):
            notes.append("It has several frames; the first was taken.")
    picture = opened(file)
    if picture.mode in DEEP:
        notes.append("Its brightness was brought from more than 8 bits to 8.")
        picture = shallow(picture)
    if picture.mode == "CMYK":
        notes.append("Its inks (CMYK) became the colours of a screen.")
    return on_screen(picture), " ".join(notes)


def opened_header(file: Path) -> Image.Image:
    """A picture whose pixels are not read. Raises BadPicture where there is none, or more than the studio opens."""
    from pipelines.pictures import FORMATS, opened

    try:
        return Image.open(file, formats=FORMATS)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return opened(file)  # it says what is wrong


def shallow(picture: Image.Image) -> Image.Image:
    """A grey picture of many bits at 8: what could be 16 bits is, and fractions go from 0 to 1."""
    import numpy as np

    levels = np.nan_to_num(np.asarray(picture, dtype=np.float64))
    most = 1.0 if picture.mode == "F" and levels.max() <= 1 else 255.0 if levels.max() <= 255 else 65535.0
    return Image.fromarray((levels / most * 255).round().clip(0, 255).astype(np.uint8))


def on_screen(picture: Image.Image) -> Image.Image:
    """A picture in sRGB by its own profile, in one of the modes that a shelf keeps."""
    from PIL import ImageCms

    clear = "transparency" in picture.info or "A" in picture.getbands()
    profile = picture.info.get("icc_profile")
    if profile and picture.mode in ("RGB", "RGBA", "CMYK"):
        mode = "RGBA" if picture.mode == "RGBA" else "RGB"
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            turned = ImageCms.profileToProfile(picture, own, ImageCms.createProfile("sRGB"), outputMode=mode)
            picture = turned or picture
        except (ImageCms.PyCMSError, OSError):
            pass  # a damaged profile: the colours are taken as they stand
    if picture.mode in MODES and not clear:
        return picture
    wanted = "RGBA" if clear else "L" if picture.mode == "1" else "RGB"
    return picture if picture.mode == wanted else picture.convert(wanted)
