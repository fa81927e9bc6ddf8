"""The thing under a click, asked of the thread that owns the device, when it does not paint."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future, TimeoutError
from typing import TYPE_CHECKING, Any

from PIL import Image

from pipelines.errors import Busy, StudioError
from pipelines.models import find
from pipelines.runner import Runner
from pipelines.shelf import FolderShelf

if TYPE_CHECKING:
    from pipelines.features import Seen
    from pipelines.memory import Memory

PATIENCE = 90.0  # seconds that a click waits, for a model that has to be loaded too
REMEMBERED = 4  # pictures whose next click needs no network
BUSY = "The studio is painting. Things can be selected when it is done."


class Sight:
    """What models see in pictures, kept for the next click."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self._seen: OrderedDict[tuple[str, str, str], Seen] = OrderedDict()

    def thing(self, shelf: FolderShelf, name: str, model: str, x: int, y: int) -> Image.Image:
        """The mask, mode L, of the thing at a place of a picture on a shelf. Raises StudioError."""
        from pipelines.features import Click, selected

        key = (str(shelf.folder), name, model)
        if key not in self._seen:
            self._seen[key] = self._look(shelf.open(name), model)
        self._seen.move_to_end(key)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return selected(self._seen[key], [Click(x, y)])

    def _look(self, picture: Image.Image, model: str) -> Seen:
        spec = find(model)
        if any(job.ending is None and not job.held for job in self.runner.jobs()):
            raise Busy(BUSY)
        looked: Future[Seen] = Future()

        def look(memory: Memory) -> None:
            from pipelines.features import seen

            try:
                looked.set_result(seen(picture, spec, memory))
            except StudioError as error:
                looked.set_exception(error)
            except BaseException:
                looked.set_exception(Busy(BUSY))  # a job came, or it broke: the runner says which in the log
                raise

        self.runner.chore(look)
        try:
            return looked.result(PATIENCE)
        except TimeoutError:
            raise Busy(BUSY) from None


def joined(mask: Image.Image | None, thing: Image.Image, less: bool) -> Image.Image:
    """A mask with a thing added, or cut out of it."""
    from PIL import ImageChops

    before: Any = mask if mask is not None else Image.new("L", thing.size)
    return ImageChops.darker(before, ImageChops.invert(thing)) if less else ImageChops.lighter(before, thing)
