"""What a page shows of a grid: plain values for its script, and files to take away. It starts nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.comparison import Made, Square, as_csv, as_json, as_picture, captions, squares, words
from pipelines.events import Painted, Progress
from pipelines.tasks.compare import Compare, Refused
from studio.files import address, thumb

if TYPE_CHECKING:
    from pipelines.job import Job
    from pipelines.library import Library
    from pipelines.library.album import Kept

KINDS = {"picture": "png", "csv": "csv", "json": "json"}  # what a grid is taken away as


def whole(request: Compare) -> Compare:
    """The grid that a request is a part of, after it was stopped and went on."""
    return request.model_copy(update={"skip": ()})


def kept(library: Library, owner: str, request: Compare) -> dict[str, Kept]:
    """The pictures of a grid that are there, by the request of the cell in JSON."""
    asked = [each.request for each in request.cells()]
    found = library.album.having(owner, [json.dumps(each.model_dump(mode="json")) for each in asked])
    there = {json.dumps(each.request, ensure_ascii=False): each for each in found if "figures" in each.origin}
    return {each.to_json(): there[each.to_json()] for each in asked if each.to_json() in there}


def known(library: Library, owner: str, request: Compare, jobs: Sequence[Job]) -> tuple[list[Square], dict[str, Kept]]:
    """Every cell with what is known of it, and the pictures behind them."""
    pictures = kept(library, owner, request)
    made = {
        text: Made(each.file, each.seconds, each.origin["figures"].get("evaluations"))
        for text, each in pictures.items()
    }
    return squares(request, made, refusals(request, jobs)), pictures


def refusals(request: Compare, jobs: Sequence[Job]) -> dict[str, str]:
    """Why cells could not be painted, by their request in JSON; only of this grid's own jobs."""
    mine = [job for job in jobs if isinstance(job.request, Compare) and whole(job.request) == request]
    said = [event for job in mine for event in job.latest() if isinstance(event, Refused)]
    return {event.request.to_json(): event.text for event in said if event.request}


def view(library: Library, owner: str, request: Compare, jobs: Sequence[Job]) -> dict[str, Any]:
    """The whole grid for the page's script."""
    found, pictures = known(library, owner, request, jobs)
    axes = [
        {"word": word, "values": list(each.values)} for word, each in zip(words(request), request.axes, strict=True)
    ]
    left = sum(each.made is None for each in found)
    return {
        "axes": axes,
        "reference": min(request.reference, len(request.axes[0].values)) - 1,
        "prompt": request.prompt,
        "cells": [_cell(each, pictures) for each in found],
        "shape": "{} / {}".format(*request.extent(None)),
        "left": left,
        "made": len(found) - left,
    }


def live(job: Job | None) -> int:
    """The cell that a job works on by now, in reading order; -1 for none."""
    if job is None or job.ending is not None or not isinstance(job.request, Compare):
        return -1
    progress = next((event for event in reversed(job.latest()) if isinstance(event, Progress)), None)
    wanted, cells = job.request.wanted(), [each.request for each in job.request.cells()]
    place = progress.picture - 1 if progress else 0
    return cells.index(wanted[place]) if place < len(wanted) else -1


def taken(library: Library, owner: str, request: Compare, jobs: Sequence[Job], kind: str) -> Path:
    """The grid as a file among the exports: one captioned picture that carries its settings, a table, or JSON. Raises
    StudioError."""
    from pipelines.exports import placed
    from pipelines.pictures import png

    found, _ = known(library, owner, request, jobs)
    if kind == "picture":
        content = png(Painted(as_picture(request, found), request))
    else:
        content = (as_csv if kind == "csv" else as_json)(request, found).encode()
    return placed(content, library.exports, f"grid-{time.strftime('%Y%m%d-%H%M%S')}.{KINDS[kind]}")


def _figures(picture: Kept) -> dict[str, Any]:
    return dict(picture.origin["figures"])


def _cell(square: Square, pictures: dict[str, Kept]) -> dict[str, Any]:
    text = square.cell.request.to_json()
    cost, far = captions(square)
    shown: dict[str, Any] = {
        "at": [square.cell.column, square.cell.row, square.cell.sheet],
        "values": list(square.values),
        "cost": cost,
        "far": far,
        "refusal": square.refusal,
    }
    picture = pictures.get(text)
    if picture is None or square.made is None:
        return shown
    apart = vars(square.distance) if square.distance else {}
    measured = {"seconds": square.made.seconds, "evaluations": square.made.evaluations, **apart}
    place = {"id": picture.id, "url": address(str(picture.file)), "thumb": thumb(str(picture.file))}
    return {**shown, **place, **measured, "seed": picture.seed, "recipe": json.dumps(picture.request)}
