"""What the gallery shows, as plain values: a page of small pictures, one in full, its family. It wires nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.library import Library
from studio.files import address
from studio.phrases import size

if TYPE_CHECKING:
    from pipelines.library.album import Kept, Wanted
    from pipelines.library.lineage import Family

PAGE = 60  # pictures that are sent at once
LONGEST = 200  # characters of what is searched
CHOSEN = 500  # pictures that one wish may name
LIKES = 8  # pictures that are shown for looking the same


def wanted(said: dict[str, Any]) -> Wanted:
    """What somebody asks to see; whatever is not a filter is none. Days are those of this machine's clock."""
    from pipelines.library.album import Wanted

    return Wanted(
        words=str(said.get("words") or "")[:LONGEST],
        task=str(said.get("task") or ""),
        model=str(said.get("model") or ""),
        since=day(said.get("since")),
        until=day(said.get("until"), after=1),
        favourite=said.get("favourite") is True,
        binned=said.get("binned") is True,
    )


def day(text: Any, after: int = 0) -> float | None:
    """The beginning of a day written 2026-11-21, or of one so many days later; None for what is no day."""
    try:
        return datetime.strptime(str(text or ""), "%Y-%m-%d").timestamp() + after * 86400
    except (ValueError, OverflowError, OSError):
        return None


def page(library: Library, owner: str, said: dict[str, Any]) -> dict[str, Any]:
    """A part of the grid from `start` on, how many there are, and what can be filtered by."""
    from pipelines.library.album import Wanted

    asked, start = wanted(said), whole(said.get("start"))
    found = library.album.page(owner, asked, start, PAGE)
    room = library.room()
    return {
        "asked": said.get("asked"),
        "start": start,
        "next": start + PAGE,
        "total": library.album.count(owner, asked),
        "pictures": [small(library, each) for each in found],
        "binned": library.album.count(owner, Wanted(binned=True)),
        **library.album.kinds(owner),
        "room": room.warning() or f"{size(room.used)} kept",
        "warns": bool(room.warning()),
    }


def small(library: Library, kept: Kept) -> dict[str, Any]:
    """A picture in the grid."""
    thumbnail = library.album.thumbnails.of(kept.file, kept.digest)
    return {
        "id": kept.id,
        "thumb": address(str(thumbnail)) if thumbnail else "",
        "url": address(str(kept.file)),
        "prompt": kept.prompt,
        "seed": kept.seed,
        "task": kept.task,
        "favourite": kept.favourite,
        "width": kept.width,
        "height": kept.height,
        "made": kept.made,
        "settings": kept.request,
    }


def large(library: Library, owner: str, id: str) -> dict[str, Any]:
    """One picture with all that is known of it; empty where there is none."""
    from pipelines.library.lineage import family

    kept = library.album.get(owner, id)
    if kept is None:
        return {}
    return {
        **small(library, kept),
        "name": kept.file.name,
        "model": kept.model,
        "day": datetime.fromtimestamp(kept.made).strftime("%Y-%m-%d %H:%M"),
        "seconds": kept.seconds,
        "recipe": json.dumps(kept.request, indent=2, ensure_ascii=False),
        "origin": {name: value for name, value in kept.origin.items() if name != "job"},
        "binned": kept.binned is not None,
        "family": tree(library, family(library.album, owner, id)),
        "alike": likes(library, owner, kept),
    }


def likes(library: Library, owner: str, kept: Kept) -> list[dict[str, Any]]:
    """Other pictures of an owner that look nearly the same, the nearest first; none from the bin."""
    from pipelines.verify import alike

    if kept.look is None:
        return []
    ids = [each["id"] for each in alike(library, kept.look, owner) if each["id"] != kept.id]
    found = [each for each in library.album.some(owner, ids) if each.binned is None]
    return [small(library, each) for each in found[:LIKES]]


def tree(library: Library, related: Family) -> dict[str, Any]:
    """Who came from whom: members with the adapters on their model, and links from parent to child with what the parent
    was there for."""
    return {
        "members": [
            {**small(library, each), "worn": list(each.origin.get("adapters", ()))} for each in related.members
        ],
        "links": [{"parent": each.parent, "child": each.child, "role": each.role} for each in related.links],
        "brought": list(related.brought),
    }


def chosen(said: dict[str, Any]) -> Sequence[str]:
    """The ids that a wish names."""
    ids = said.get("ids")
    return [str(each) for each in ids[:CHOSEN]] if isinstance(ids, list) else []


def whole(value: Any) -> int:
    """A number from a page, as one that can be counted from."""
    return min(max(value, 0), 10**7) if isinstance(value, int) else 0
