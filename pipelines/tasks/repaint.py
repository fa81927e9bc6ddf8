"""A whole picture is painted anew, from as much of it as the strength leaves. SDEdit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pipelines.grounds import repainted, walked
from pipelines.knobs import Strength
from pipelines.repainting import Repainted
from pipelines.tasks import Running, task

if TYPE_CHECKING:
    from pipelines.memory import Memory
    from pipelines.sheets import Sheet
    from pipelines.shelf import Shelf


class Repaint(Repainted):
    """Repaints a whole picture: little of it at a low strength, all of it at 1."""

    task: Literal["repaint"] = "repaint"
    strength: Strength = 0.6

    def sheet(self, shelf: Shelf) -> Sheet:
        """The picture, all of which may change; its alpha stays. Raises BadRequest."""
        import numpy as np

        from pipelines.sheets import laid_out

        picture = self.opened(shelf)
        return laid_out(picture, np.full((picture.height, picture.width), 255, np.uint8), 0, 0, 0)


@task(Repaint)
def repaint(request: Repaint, memory: Memory, shelf: Shelf) -> Running:
    """Noises the picture to the level of the strength and walks down again. Meng et al. 2022 (arXiv:2108.01073)."""
    return repainted(request, memory, shelf, walked)
