"""What a picture came from, and what came from it: known by the pixels that requests name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pipelines.library.album import Album, Kept
from pipelines.library.rows import parents, pictures

NAME = re.compile(r"[0-9a-f]{32}")
LARGEST = 200  # pictures of one family that are followed


@dataclass(frozen=True)
class Link:
    """`child` names `parent` in the field `role`: the id of a picture of the album, or the shelf name of another."""

    parent: str
    child: str
    role: str


@dataclass(frozen=True)
class Family:
    """Ancestors and descendants of a picture, it among them, the oldest first; what was brought by its shelf name."""

    members: tuple[Kept, ...]
    links: tuple[Link, ...]
    brought: tuple[str, ...]


def names_in(request: dict[str, Any]) -> list[tuple[str, str]]:
    """Each shelf name in a request, with the field that holds it, however deep."""
    return [(role, name) for role, value in request.items() for name in _names(value)]


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if NAME.fullmatch(value):
            yield value
    elif isinstance(value, (list, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _names(each)


def family(album: Album, owner: str, id: str) -> Family:
    """All that is known of where a picture came from and where it went."""
    members: dict[str, Kept] = {}
    links: set[Link] = set()
    brought: set[str] = set()
    ahead = [each for each in [album.get(owner, id)] if each]
    while ahead and len(members) < LARGEST:
        member = ahead.pop()
        if member.id in members:
            continue
        members[member.id] = member
        for role, name in names_in(member.request):
            parent = parent_of(album, owner, name, member.made)
            links.add(Link(parent.id if parent else name, member.id, role))
            if parent:
                ahead.append(parent)
            else:
                brought.add(name)
        ahead += _children(album, owner, member)
    known = {link for link in links if link.child in members and (link.parent in members or link.parent in brought)}
    ordered = sorted(members.values(), key=lambda each: each.made)
    return Family(
        tuple(ordered), tuple(sorted(known, key=lambda each: (each.child, each.role))), tuple(sorted(brought))
    )


def edits(album: Album, kept: Kept) -> list[dict[str, Any]]:
    """The requests that led to a picture of the album, the oldest first, its own last."""
    chain: dict[str, dict[str, Any]] = {}
    ahead = [kept]
    while ahead and len(chain) < LARGEST:
        member = ahead.pop(0)
        chain.pop(member.id, None)  # what two came from comes before both
        chain[member.id] = member.request
        found = (parent_of(album, kept.owner, name, member.made) for _, name in names_in(member.request))
        ahead += [each for each in found if each]
    return list(chain.values())[::-1]


def parent_of(album: Album, owner: str, name: str, before: float) -> Kept | None:
    """The newest picture of an owner with those pixels that was there before then."""
    this = (pictures.c.owner == owner, pictures.c.pixels == name, pictures.c.made < before)
    with album.store.reading() as connection:
        query = sa.select(pictures.c.id).where(*this).order_by(pictures.c.made.desc()).limit(1)
        id = connection.scalar(query)
    return album.get(owner, id) if id else None


def _children(album: Album, owner: str, member: Kept) -> list[Kept]:
    if member.pixels is None:
        return []
    query = sa.select(parents.c.child).where(parents.c.name == member.pixels).distinct().limit(LARGEST)
    with album.store.reading() as connection:
        ids = list(connection.scalars(query))
    return [each for each in album.some(owner, ids) if each.made > member.made] if ids else []
