"""What a grid has shown so far: each cell's picture, cost and distance, as a table, as JSON and as one picture."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.distances import Distance, distance
from pipelines.grids import Cell, knobs_of
from pipelines.tasks.compare import Compare
from pipelines.tasks.text_to_image import TextToImage

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE, GAP, LINE = 256, 12, 20  # pixels of a cell's longer side on a sheet, between two, and of a line of text
INK, PAPER = (28, 25, 21), (255, 253, 248)


@dataclass(frozen=True)
class Made:
    """A picture that is there, and what was measured of it; evaluations are none where nobody could count."""

    file: Path
    seconds: float | None = None
    evaluations: int | None = None


@dataclass(frozen=True)
class Square:
    """A cell with what is known of it by now: picture, distance to the reference column, or why there is none."""

    cell: Cell[TextToImage]
    values: tuple[str, str, str]
    made: Made | None = None
    distance: Distance | None = None
    refusal: str = ""


def squares(request: Compare, made: Mapping[str, Made], refusals: Mapping[str, str] | None = None) -> list[Square]:
    """Every cell of a grid in reading order; what is made, and why something is not, by the cell's request in JSON."""
    across, down, sheets = request.axes
    every = request.cells()
    found = {(each.column, each.row, each.sheet): made.get(each.request.to_json()) for each in every}
    column = min(request.reference, len(across.values)) - 1
    result = []
    for cell in every:
        here, there = found[cell.column, cell.row, cell.sheet], found[column, cell.row, cell.sheet]
        values = across.values[cell.column], down.values[cell.row], sheets.values[cell.sheet]
        apart = measured(here.file, there.file) if here and there else None
        result.append(Square(cell, values, here, apart, (refusals or {}).get(cell.request.to_json(), "")))
    return result


@lru_cache(4096)
def measured(one: Path, other: Path) -> Distance | None:
    """How far two picture files are apart; None where one is gone, or they differ in size."""
    from pipelines.errors import BadPicture
    from pipelines.pictures import opened

    try:
        return distance(opened(one), opened(other))
    except (BadPicture, OSError):
        return None


def words(request: Compare) -> list[str]:
    """What each axis varies, in the words of the page; empty for an axis that varies nothing."""
    known = knobs_of(TextToImage)
    return [known[each.knob] if each.knob else "" for each in request.axes]


def rows(request: Compare, squares: Sequence[Square]) -> list[dict[str, Any]]:
    """The table: one row a cell, a column for each axis, then figures, seed and file name; None is not known."""
    table = []
    for each in squares:
        axes = {word: value for word, value in zip(words(request), each.values, strict=True) if word}
        apart, made = each.distance, each.made
        figures = {
            "seconds": made.seconds if made else None,
            "evaluations": made.evaluations if made else None,
            "psnr": apart.psnr if apart else None,
            "ssim": apart.ssim if apart else None,
            "gmsd": apart.gmsd if apart else None,
        }
        rest = {"seed": each.cell.request.seed, "file": made.file.name if made else None, "refusal": each.refusal}
        table.append({**axes, **{name: _rounded(value) for name, value in figures.items()}, **rest})
    return table


def as_csv(request: Compare, squares: Sequence[Square]) -> str:
    """The table with commas between values; nothing where a figure is not known."""
    table, file = rows(request, squares), io.StringIO()
    writer = csv.DictWriter(file, list(table[0]))
    writer.writeheader()
    writer.writerows(table)
    return file.getvalue()


def as_json(request: Compare, squares: Sequence[Square]) -> str:
    """The request of the grid, the table, and the request of each cell."""
    cells = [
        {**row, "request": each.cell.request.model_dump(mode="json")}
        for row, each in zip(rows(request, squares), squares, strict=True)
    ]
    return json.dumps({"request": request.model_dump(mode="json"), "cells": cells}, ensure_ascii=False, indent=1)


def as_picture(request: Compare, squares: Sequence[Square]) -> Image:
    """All cells on one sheet, RGB: values of the axes at the edges, figures below each picture."""
    from PIL import Image, ImageDraw, ImageFont

    across, down, sheets = request.axes
    width, height = _size(request)
    font = ImageFont.load_default(14)
    left = 160 if down.knob else GAP
    step, block = (width + GAP, height + 2 * LINE + GAP), 2 * LINE + GAP
    tall = block + len(down.values) * step[1]
    sheet = Image.new("RGB", (left + len(across.values) * step[0], tall * len(sheets.values) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)

    def write(x: int, y: int, text: str, room: int) -> None:
        while text and draw.textlength(text, font) > room:
            text = text[:-2].rstrip() + "…" if len(text) > 2 else ""
        draw.text((x, y), text, INK, font)

    names = words(request)
    for each in squares:
        x, top = left + each.cell.column * step[0], each.cell.sheet * tall + GAP
        y = top + block - GAP + each.cell.row * step[1]
        if each.cell.column == each.cell.row == 0:
            write(left, top, f"{names[2]} {each.values[2]}" if names[2] else request.prompt, sheet.width - left - GAP)
        if each.cell.row == 0:
            write(x, top + LINE, f"{names[0]} {each.values[0]}".strip(), width)
        if each.cell.column == 0 and names[1]:
            write(GAP, y, names[1], left - 2 * GAP)
            write(GAP, y + LINE, each.values[1], left - 2 * GAP)
        _put(sheet, each, (x, y), (width, height))
        for k, line in enumerate(captions(each)):
            write(x, y + height + 2 + k * LINE, line, width)
    return sheet


def captions(square: Square) -> tuple[str, str]:
    """The two lines below a cell's picture."""
    made, apart = square.made, square.distance
    cost = [f"{made.seconds:.2f} s"] if made and made.seconds is not None else []
    cost += [f"{made.evaluations} evaluations"] if made and made.evaluations is not None else []
    far = f"{apart.psnr:.1f} dB · SSIM {apart.ssim:.3f} · GMSD {apart.gmsd:.3f}" if apart else square.refusal
    return " · ".join(cost), far


def _size(request: Compare) -> tuple[int, int]:
    width, height = request.extent(None)
    scale = SIDE / max(width, height)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def _put(sheet: Image, square: Square, place: tuple[int, int], size: tuple[int, int]) -> None:
    from PIL import Image, ImageDraw, ImageOps

    if square.made is None or not square.made.file.exists():
        ImageDraw.Draw(sheet).rectangle((*place, place[0] + size[0], place[1] + size[1]), (229, 220, 203))
        return
    from pipelines.pictures import opened

    picture = ImageOps.pad(opened(square.made.file).convert("RGB"), size, Image.Resampling.LANCZOS, color=PAPER)
    sheet.paste(picture, place)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4) if isinstance(value, float) else value
