"""Tensors <-> pictures <-> files. It knows nothing of models, and the PNG it writes carries the whole request.

Files need no torch: a page restores settings and keeps them before torch is there.
"""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from pipelines.errors import BadPicture
from pipelines.events import Painted
from pipelines.request import Request

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 64_000_000  # pixels that the studio opens: 256 MB as RGBA
RECIPE = "palimpsest"  # the PNG text chunk that holds the request as JSON
ORIGIN = "palimpsest-origin"  # the one that says by what it was painted
LONGEST_RECIPE = 1_000_000  # characters
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
Image.MAX_IMAGE_PIXELS = LARGEST
PngImagePlugin.MAX_TEXT_CHUNK = LONGEST_RECIPE
PngImagePlugin.MAX_TEXT_MEMORY = 4 * LONGEST_RECIPE


def to_pixels(picture: Image.Image) -> Tensor:
    """A picture as pixels (1, 3, H, W) in [-1, 1], float32."""
    import numpy as np
    import torch

    array = np.asarray(picture.convert("RGB"), dtype=np.float32)
    return torch.from_numpy(array / 127.5 - 1).permute(2, 0, 1)[None]


def to_pictures(pixels: Tensor) -> list[Image.Image]:
    """Pixels (B, 3, H, W) in [-1, 1] as RGB pictures, rounded to the nearest of 256 levels."""
    import torch

    from pipelines.device import on_host

    levels = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return [Image.fromarray(on_host(each).permute(1, 2, 0).numpy()) for each in levels]


def png(painted: Painted[Request], origin: Mapping[str, Any] | None = None) -> bytes:
    """A PNG file of a picture with the request that paints it, and `origin`: by what version, weights and device. Where
    it has frames, it moves.

    Level 1 compresses 2-3 times faster, 16 % larger.
    """
    if painted.picture is None:
        raise ValueError("the picture is in a file already")
    text = PngImagePlugin.PngInfo()
    text.add_itxt(RECIPE, painted.request.to_json())
    if origin:
        text.add_itxt(ORIGIN, json.dumps(origin, ensure_ascii=False))
    file = io.BytesIO()
    moving = {"save_all": True, "append_images": list(painted.frames), "duration": painted.pause, "loop": 0}
    painted.picture.save(file, "PNG", pnginfo=text, compress_level=1, **(moving if painted.frames else {}))
    return file.getvalue()


def write(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, whatever ends this process or this machine."""
    staged = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with staged.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def opened(file: str | Path | IO[bytes]) -> Image.Image:
    """A picture file, its size judged by its header before anything is decoded. Raises BadPicture."""
    try:
        picture = Image.open(file, formats=FORMATS)
        if picture.width * picture.height > LARGEST:
            raise Image.DecompressionBombError
        picture.load()
    except Image.DecompressionBombError:
        raise BadPicture(
            f"The picture is larger than the {LARGEST // 10**6} megapixels that the studio opens."
        ) from None
    except UnidentifiedImageError:
        raise BadPicture(f"This is not a picture the studio can open; it opens {', '.join(FORMATS)}.") from None
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError):
        raise BadPicture("The picture is damaged: it could not be read to its end.") from None
    return ImageOps.exif_transpose(picture)


def moves(file: str | Path | IO[bytes]) -> bool:
    """Whether a picture file is animated; `opened` gives its first frame. False for what is no picture."""
    try:
        with Image.open(file, formats=FORMATS) as picture:
            return bool(getattr(picture, "is_animated", False))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def recipe(file: str | Path | IO[bytes]) -> dict[str, Any]:
    """The request that a picture of ours carries, as plain values. Raises BadPicture."""
    return recipe_of(opened(file).info)


def recipe_of(chunks: Mapping[Any, Any]) -> dict[str, Any]:
    """The request among the text chunks of a PNG of ours, as plain values. Raises BadPicture."""
    text = chunks.get(RECIPE)
    if not isinstance(text, str):
        raise BadPicture("This picture carries no recipe of Palimpsest.")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise BadPicture("The recipe in this picture is damaged.")
    return values
