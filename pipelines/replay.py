"""Paints a picture once more, its whole chain if need be, and says whether it is the same, or what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import BadRequest, StudioError
from pipelines.events import Finished
from pipelines.library.intake import read_json
from pipelines.library.lineage import names_in
from pipelines.origin import differences, origin_of
from pipelines.pictures import ORIGIN, opened
from pipelines.recipes import read
from pipelines.shelf import NoShelf, name_of
from pipelines.tasks import parse, run

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.library import Library
    from pipelines.library.album import Kept
    from pipelines.memory import Memory
    from pipelines.request import Request
    from pipelines.shelf import Shelf

DEEPEST = 20  # pictures that one came from, one after another, that are painted anew


@dataclass(frozen=True)
class Verdict:
    """How a picture and its replay compare: pixels that differ, by how much at most, and what may be the reason."""

    identical: bool
    share: float = 0.0  # of pixels that differ
    most: int = 0  # levels of 255
    reasons: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()  # what was painted, the oldest first


@dataclass
class Replaying:
    """One replay: where pictures that a request names come from, and what was painted on the way."""

    memory: Memory
    shelf: Shelf
    library: Library | None
    owner: str
    painted: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # tasks whose pictures were others this time
    known: set[str] = field(default_factory=set)  # names that were seen to

    def picture(self, request: Request, depth: int = 0) -> Image:
        """The picture of a request whose count is 1. Raises StudioError."""
        if depth > DEEPEST:
            raise StudioError("The chain of this picture is longer than the studio replays.")
        for _, name in names_in(request.model_dump(mode="json")):
            self._source(name, depth)
        self.painted.append(request.task.replace("_", " "))
        made = [event.painted.picture for event in run(request, self.memory, self.shelf) if isinstance(event, Finished)]
        if not made or made[0] is None:
            raise StudioError("The request paints no picture.")
        return made[0]

    def _source(self, name: str, depth: int) -> None:
        """Paint a picture of that name anew where it was painted; see to it that it is on the shelf in any case."""
        if name in self.known:
            return
        self.known.add(name)
        parent = self.library.album.of_digest(name, self.owner) if self.library else None
        if parent is not None:
            again = self.picture(parse(parent.request), depth + 1)
            if name_of(again) != name:
                self.broken.append(parent.task.replace("_", " "))
                again = opened(parent.file)
            self.shelf.put(again)
        try:
            self.shelf.open(name)
        except BadRequest:
            raise StudioError("The picture that this one came from is not here, so the chain ends.") from None


def replay(file: Path, memory: Memory, library: Library | None = None) -> Verdict:
    """Paint the picture of a file once more and compare. Raises StudioError where it carries no request of ours."""
    reading = read(file)
    picture = opened(file)
    origin = read_json(picture.info.get(ORIGIN, ""))
    kept = library.album.of_digest(name_of(picture)) if library and picture.mode in ("L", "RGB", "RGBA") else None
    owner = kept.owner if kept else ""
    shelf: Shelf = library.shelf(owner) if library else NoShelf()
    return judged(parse(reading.request), picture, origin, Replaying(memory, shelf, library, owner))


def judged(request: Request, picture: Image, origin: dict[str, Any], replaying: Replaying) -> Verdict:
    """A request painted anew beside the picture that it painted before."""
    import numpy as np

    again = replaying.picture(request)
    changed = differences(origin, origin_of(request, replaying.memory)) if origin else []
    changed += [f"The picture before, by {task}, came out another, too." for task in replaying.broken]
    chain = tuple(replaying.painted)
    if again.size != picture.size:
        return Verdict(False, 1, 255, (f"It is {again.size[0]} x {again.size[1]} now.", *changed), chain)
    before, after = (np.asarray(each.convert("RGB"), dtype=np.int16) for each in (picture, again))
    apart = np.abs(before - after).max(-1)
    if not apart.any():
        return Verdict(True, chain=chain)
    reasons = changed or (["It does not say by what it was painted."] if not origin else [])
    return Verdict(False, float((apart > 0).mean()), int(apart.max()), tuple(reasons), chain)


def compared(verdict: Verdict) -> str:
    """A verdict in words."""
    if verdict.identical:
        return "Identical: every pixel is the same."
    share = f"{100 * verdict.share:.1f} % of the pixels differ, by {verdict.most} of 255 levels at most."
    reasons = verdict.reasons or ("Version, weights and device are the same as then.",)
    return " ".join([f"Not identical: {share}", *reasons])


def _answer(done: asyncio.Future[Any], answer: Any) -> None:
    if not done.done():
        done.set_result(answer)


def replayed(
    kept: Kept, library: Library, loop: asyncio.AbstractEventLoop, done: asyncio.Future[Any]
) -> Callable[[Memory], None]:
    """A chore for the device thread that replays a picture of the library, and answers with a verdict or a sentence."""

    def work(memory: Memory) -> None:
        answer: Any = "The replay made way for a job. Ask again when the line is empty."
        try:
            shelf = library.shelf(kept.owner)
            answer = judged(
                parse(kept.request), opened(kept.file), kept.origin, Replaying(memory, shelf, library, kept.owner)
            )
        except StudioError as error:
            answer = str(error)
        finally:
            loop.call_soon_threadsafe(_answer, done, answer)

    return work
