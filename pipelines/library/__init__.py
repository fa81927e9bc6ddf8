"""What was made and what is to be made: pictures as files, and in a database what is known of them.

One folder holds everything: `pictures`, `shelf`, `adapters`, and `library.db` unless a URL names another database.
The database is opened when it is first asked, so that a page is up before.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pipelines.errors import StudioError
from pipelines.events import Painted
from pipelines.request import Request

if TYPE_CHECKING:
    from pipelines.credentials import Credentials
    from pipelines.library.adapters import Adapters
    from pipelines.library.album import Album
    from pipelines.library.house import Room
    from pipelines.library.keeper import Keeper
    from pipelines.library.memos import Memos
    from pipelines.library.sources import NotedShelf
    from pipelines.library.store import Store
    from pipelines.library.tickets import Tickets

T = TypeVar("T")
Marks = Literal["off", "exports", "all"]
logger = logging.getLogger(__name__)
ROUND = 3600  # seconds between two rounds of keeping house


class Library:
    """A folder of pictures, one subfolder a day, and a database of what is known of them.

    `quota` is in bytes, `retention` in days. `marks` says which pictures carry the invisible mark: those that are kept,
    too, or only what is exported, so that kept pixels are exactly the painted ones. `credentials` sign exports.
    """

    def __init__(
        self,
        folder: Path,
        url: str | None = None,
        quota: int | None = None,
        retention: float | None = None,
        marks: Marks = "exports",
        credentials: Credentials | None = None,
    ) -> None:
        self.folder, self.quota, self.retention = folder, quota, retention
        self.marks, self.credentials = marks, credentials
        self.pictures, self.exports = folder / "pictures", folder / "exports"
        self._url, self._closed, self._lock = url, threading.Event(), threading.RLock()
        self._opened: dict[type, Any] = {}
        for each in (self.pictures, self.exports, folder / "thumbnails"):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def store(self) -> Store:
        """The database."""
        from pipelines.library.store import Store

        return self._once(Store, lambda: Store(self.folder / "library.db", self._url))

    @property
    def album(self) -> Album:
        """The pictures as rows."""
        from pipelines.library.album import Album
        from pipelines.library.thumbnails import Thumbnails

        return self._once(Album, lambda: Album(self.store, self.pictures, Thumbnails(self.folder / "thumbnails")))

    @property
    def keeper(self) -> Keeper:
        """This process, as others that share the library see it."""
        from pipelines.library.keeper import Keeper

        return self._once(Keeper, lambda: Keeper(self.folder / "locks"))

    @property
    def tickets(self) -> Tickets:
        """The jobs as rows."""
        from pipelines.library.tickets import Tickets

        return self._once(Tickets, lambda: Tickets(self.store, self.keeper))

    @property
    def adapters(self) -> Adapters:
        """What models were taught."""
        from pipelines.library.adapters import Adapters

        return self._once(Adapters, lambda: Adapters(self.store, self.folder / "adapters"))

    @property
    def _memos(self) -> Memos:
        from pipelines.library.memos import Memos

        return self._once(Memos, lambda: Memos(self.store, self.folder / "settings"))

    def keep(
        self, painted: Painted[Request], owner: str = "", origin: dict[str, Any] | None = None, seconds: float = 0
    ) -> Painted[Request]:
        """Write a picture; it is in its file from now on. Raises StudioError where the disk will not take it.

        `origin` says by what it was painted: version, weights, device, job. `seconds` is how long that took.
        """
        from pipelines.library.intake import row
        from pipelines.library.lineage import names_in
        from pipelines.likeness import look
        from pipelines.pictures import png
        from pipelines.shelf import name_of

        picture, frames = painted.picture, painted.frames
        if picture is None:
            raise ValueError("the picture is in a file already")
        if self.marks == "all":
            from pipelines.watermark import marked

            picture, frames = marked(picture), tuple(marked(each) for each in frames)
        origin, request = origin or {}, painted.request.model_dump(mode="json")
        content = png(replace(painted, picture=picture, frames=frames), origin)
        digest = hashlib.sha256(content).hexdigest()
        path = self._written(content, f"{time.strftime('%H%M%S')}-{painted.request.seed}-{digest[:16]}")
        values = {"file": path.relative_to(self.pictures).as_posix(), "digest": digest, "bytes": len(content)}
        values |= {"owner": owner, "made": time.time(), "pixels": name_of(picture), "look": look(picture)}
        values = row(request, origin, *picture.size) | values | {"seconds": seconds or None}
        try:
            self.album.add(values, names_in(request))
        except StudioError as error:  # it is in its file, and listed once the database answers again
            logger.warning("%s is not listed yet: %s", path.name, error)
        return Painted(None, painted.request, str(path))

    def _written(self, content: bytes, stem: str) -> Path:
        from pipelines.pictures import write

        folder = self.pictures / time.strftime("%Y-%m-%d")
        path, k = folder / f"{stem}.png", 1
        while path.exists():
            path, k = folder / f"{stem}-{k}.png", k + 1
        try:
            folder.mkdir(exist_ok=True, mode=0o700)
            write(path, content)
        except OSError as error:
            raise StudioError(f"The picture could not be kept: {error.strerror or error}.") from None
        return path

    def shelf(self, owner: str) -> NotedShelf:
        """The pictures that one owner's requests may name."""
        from pipelines.library.sources import NotedShelf

        return NotedShelf(self.folder / "shelf" / hashlib.sha256(owner.encode()).hexdigest()[:32], self.store, owner)

    def erase(self, owner: str, ids: Sequence[str]) -> int:
        """Delete pictures of an owner for good, their copies on the shelf too unless other pictures came from them."""
        names = [each.pixels for each in self.album.some(owner, ids) if each.pixels]
        gone = self.album.erase(owner, ids)
        self.shelf(owner).drop(names)
        return gone

    def remember(self, owner: str, name: str, values: dict[str, Any]) -> None:
        """Keep what an owner's page should show when it comes back."""
        self._memos.remember(owner, name, values)

    def recall(self, owner: str, name: str) -> dict[str, Any]:
        """What was remembered, or nothing."""
        return self._memos.recall(owner, name)

    def room(self) -> Room:
        """What the library weighs, and what it may weigh."""
        from pipelines.library.house import room

        return room(self)

    def take_in(self) -> int:
        """List the pictures that lie in the folder and are not listed; returns how many. Their pixels are read, too."""
        from pipelines.library.intake import complete, take_in

        taken = take_in(self.album, self.tickets.owner)
        while not self._closed.is_set() and complete(self.album):
            pass
        return taken

    def settle(self) -> threading.Thread:
        """Begin to keep house, now and every hour, on a thread of its own that ends with the library."""
        thread = threading.Thread(target=self._settled, name="library", daemon=True)
        thread.start()
        return thread

    def _settled(self) -> None:
        from pipelines.library.house import keep, sweep_uploads

        while True:
            try:
                sweep_uploads()
                self.take_in()
                keep(self)
            except Exception:
                logger.exception("Keeping house failed; it is tried again in an hour")
            if self._closed.wait(ROUND):
                return

    def close(self) -> None:
        """Leave the library to others."""
        self._closed.set()
        with self._lock:
            for each in list(self._opened.values()):
                if hasattr(each, "close"):
                    each.close()

    def _once(self, kind: type[T], make: Callable[[], T]) -> T:
        with self._lock:
            if kind not in self._opened:
                self._opened[kind] = make()
            return self._opened[kind]  # type: ignore[no-any-return]
