"""Settings that pictures of other tools carry, as our request as far as they map, and in words what did not.

What a file says is only ever text: it is measured, cut, compared with names that we know, and never run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from pipelines.errors import BadPicture
from pipelines.pictures import opened, recipe_of
from pipelines.recipes import comfyui, invokeai, parameters
from pipelines.recipes.reading import LONGEST, Found, Reading, fitted

__all__ = ["Reading", "read", "read_from"]

USER_COMMENT, DESCRIPTION = 0x9286, 0x010E  # of EXIF
EXIF_PART = 0x8769


def read(file: str | Path | IO[bytes]) -> Reading:
    """The settings in a picture file of ours or of another tool. Raises BadPicture where it carries none."""
    picture = opened(file)
    chunks = {name: value for name, value in picture.info.items() if isinstance(value, str)}
    return read_from(chunks | exif_texts(picture))


def read_from(chunks: Mapping[Any, Any]) -> Reading:
    """The settings among text chunks by name; a chunk called exif holds what a JPEG says. Raises BadPicture."""
    for name in ("palimpsest", "description"):
        if (text := chunks.get(name)) and (name == "palimpsest" or "palimpsest" in text[:40]):
            return Reading("Palimpsest", _ours(name, text), ())
    found = _found(chunks)
    if found is None:
        raise BadPicture("This picture carries no recipe of Palimpsest, and no settings of another tool that it reads.")
    return fitted(found)


def exif_texts(picture: Any) -> dict[str, str]:
    """The comment and the description of a JPEG, WebP or PNG, by those names."""
    try:
        exif = picture.getexif()
        comment, about = exif.get_ifd(EXIF_PART).get(USER_COMMENT), exif.get(DESCRIPTION)
    except Exception:  # Pillow raises struct.error, KeyError, ValueError ... on EXIF that is none; it then says nothing
        return {}
    texts = {"comment": _comment(comment), "description": about if isinstance(about, str) else ""}
    return {name: text for name, text in texts.items() if text}


def _ours(name: str, text: str) -> dict[str, Any]:
    if name == "palimpsest":
        return recipe_of({"palimpsest": text})
    values = loaded(text)
    held = values.get("palimpsest") if isinstance(values, dict) else None
    if not isinstance(held, dict):
        raise BadPicture("The recipe in this picture is damaged.")
    return held


def _found(chunks: Mapping[Any, Any]) -> Found | None:
    texts = {name: text[:LONGEST] for name, text in chunks.items() if isinstance(text, str)}
    for name in ("invokeai_metadata", "sd-metadata"):
        if isinstance(values := loaded(texts.get(name, "")), dict):
            return invokeai.found(values)
    for name in ("prompt", "workflow"):  # A1111's text wins over neither: it has no chunks of these names
        if isinstance(values := loaded(texts.get(name, "")), dict) and (graph := comfyui.found(values)):
            return graph
    for name in ("parameters", "comment", "Comment"):
        if parameters.is_one(texts.get(name, "")):
            return parameters.found(texts[name])
    return None


def loaded(text: str) -> Any:
    """What JSON holds; None where it is none, or nested too deep to be honest."""
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def _comment(value: Any) -> str:
    """An EXIF user comment: eight bytes name its characters."""
    if not isinstance(value, bytes):
        return value if isinstance(value, str) else ""
    kind, text = value[:8], value[8 : 8 + 2 * LONGEST]
    if kind == b"UNICODE\0":
        order = "utf-16-be" if text[:1] == b"\0" else "utf-16-le"
        return text.decode(order, "replace")
    return text.decode("utf-8", "replace") if kind in (b"ASCII\0\0\0", bytes(8)) else value.decode("utf-8", "replace")
