"""Pictures on their way out: as PNG, JPEG or WebP that carry their settings or none, as a zip, or on one sheet."""

from __future__ import annotations

import io
import json
import shutil
import time
import uuid
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from pipelines import __version__
from pipelines.errors import StudioError
from pipelines.library.lineage import edits
from pipelines.pictures import ORIGIN, RECIPE, opened, write
from pipelines.recipes import DESCRIPTION, EXIF_PART, USER_COMMENT
from pipelines.recipes.parameters import written

if TYPE_CHECKING:
    from pipelines.credentials import Credentials
    from pipelines.library.album import Album, Kept

Kind = Literal["png", "jpeg", "webp"]
ENDINGS: dict[Kind, str] = {"png": "png", "jpeg": "jpg", "webp": "webp"}
SOFTWARE = 0x0131  # of EXIF
LONGEST_EXIF = 65_000  # bytes; a JPEG holds no more in one place
CELL, GAP, LINES = 256, 16, 3  # pixels of a picture on a sheet, and between two; lines of its caption
MOST_ON_A_SHEET = 100


@dataclass(frozen=True)
class Outgoing:
    """How pictures leave: in what format, with their settings or stripped, marked or not, and who vouches for them and
    for what the album knows they came from."""

    kind: Kind = "png"
    stripped: bool = False
    marked: bool = True
    credentials: Credentials | None = None
    album: Album | None = None


def exported(kept: Kept, how: Outgoing) -> bytes:
    """One picture as a file's content."""
    from pipelines.watermark import marked

    picture = opened(kept.file)
    picture = marked(picture) if how.marked else picture
    content = _encoded(picture, how.kind, None if how.stripped else kept.request, kept.origin)
    if how.credentials is None:
        return content
    return how.credentials.signed(content, how.kind, edits(how.album, kept) if how.album else [kept.request])


def _encoded(picture: Image.Image, kind: Kind, request: dict[str, Any] | None, origin: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    plain = Image.frombytes(picture.mode, picture.size, picture.tobytes())  # nothing but the pixels
    if kind == "png":
        plain.save(file, "PNG", pnginfo=_chunks(request, origin) if request else None)
    elif kind == "jpeg":
        plain.convert("RGB").save(file, "JPEG", quality=95, subsampling=0, exif=_exif(request, origin))
    else:
        plain.save(file, "WEBP", quality=95, method=4, exif=_exif(request, origin))
    return file.getvalue()


def _chunks(request: dict[str, Any], origin: dict[str, Any]) -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    text.add_itxt(RECIPE, json.dumps(request, ensure_ascii=False))
    text.add_itxt(ORIGIN, json.dumps(_public(origin), ensure_ascii=False))
    text.add_itxt("parameters", written(request, __version__))
    return text


def _exif(request: dict[str, Any] | None, origin: dict[str, Any]) -> bytes:
    """The request as JSON and as other tools read it; where both are too long, the JSON. Raises StudioError."""
    if request is None:
        return b""
    for texts in (written(request, __version__), ""):
        exif = Image.Exif()
        exif[DESCRIPTION] = json.dumps({RECIPE: request, "origin": _public(origin)})
        exif[SOFTWARE] = f"Palimpsest {__version__}"
        if texts:
            exif.get_ifd(EXIF_PART)[USER_COMMENT] = b"UNICODE\0" + texts.encode("utf-16-be")
        content = exif.tobytes()
        if len(content) <= LONGEST_EXIF:
            return content
    raise StudioError("The settings of this picture are too long for this format. Export it as PNG, or without them.")


def _public(origin: dict[str, Any]) -> dict[str, Any]:
    """What is nobody's business outside of this library stays here."""
    return {name: value for name, value in origin.items() if name != "job"}


def zipped(pictures: Sequence[Kept], how: Outgoing, folder: Path) -> Path:
    """A zip of pictures below `folder`, in a place that cannot be guessed. Raises StudioError."""
    path = _place(folder) / f"palimpsest-{time.strftime('%Y%m%d-%H%M%S')}.zip"
    try:
        path.parent.mkdir(mode=0o700)
        with zipfile.ZipFile(path, "x", zipfile.ZIP_STORED) as archive:
            for k, kept in enumerate(pictures, 1):
                archive.writestr(f"{k:03d}-{kept.seed}.{ENDINGS[how.kind]}", exported(kept, how))
    except OSError as error:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise StudioError(f"The zip could not be written: {error.strerror or error}.") from None
    return path


def alone(kept: Kept, how: Outgoing, folder: Path) -> Path:
    """One picture as a file below `folder`, in a place that cannot be guessed. Raises StudioError."""
    return placed(exported(kept, how), folder, f"palimpsest-{kept.seed}.{ENDINGS[how.kind]}")


def sheet(pictures: Sequence[Kept], folder: Path, columns: int = 4) -> Path:
    """A contact sheet: small pictures with prompt, seed and model beneath. Raises StudioError."""
    some = pictures[:MOST_ON_A_SHEET]
    columns = min(columns, max(len(some), 1))
    font = ImageFont.load_default(13)
    text = LINES * 17
    rows = -(-len(some) // columns)
    across, down = CELL + GAP, CELL + text + GAP
    page = Image.new("RGB", (GAP + columns * across, GAP + rows * down), "#faf7f0")
    pen = ImageDraw.Draw(page)
    for k, kept in enumerate(some):
        x, y = GAP + k % columns * across, GAP + k // columns * down
        small = opened(kept.file).convert("RGB")
        small.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
        page.paste(small, (x + (CELL - small.width) // 2, y + (CELL - small.height) // 2))
        pen.multiline_text((x, y + CELL + 3), caption(kept, font), "#2a2620", font, spacing=2)
    file = io.BytesIO()
    page.save(file, "PNG")
    return placed(file.getvalue(), folder, "contact-sheet.png")


def caption(kept: Kept, font: Any) -> str:
    """What stands beneath a picture: as much of the prompt as fits, then seed and model."""
    lines, line = [], ""
    for word in " ".join(kept.prompt.split()).split(" "):
        longer = f"{line} {word}".strip()
        if font.getlength(longer) > CELL and line:
            lines.append(line)
            line = word
        else:
            line = longer
    lines = [each if font.getlength(each) <= CELL else each[:30] for each in [*lines, line]]
    if len(lines) >= LINES:
        lines = [*lines[: LINES - 2], f"{lines[LINES - 2][:34]} ..."]
    return "\n".join([*lines, f"{kept.seed} · {kept.model}"[:40]])


def placed(content: bytes, folder: Path, name: str) -> Path:
    """A file of a plain name below `folder`, in a place that cannot be guessed. Raises StudioError."""
    path = _place(folder) / name
    try:
        path.parent.mkdir(mode=0o700)
        write(path, content)
    except OSError as error:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise StudioError(f"The file could not be written: {error.strerror or error}.") from None
    return path


def _place(folder: Path) -> Path:
    """A folder of its own for each file, so that its name is one that a person would give."""
    return folder / uuid.uuid4().hex
