"""Things of a picture are put where they belong: pulled by arrows, or carried, copied, resized, pasted as a whole."""

from __future__ import annotations

from pipelines.tasks import tasks
from studio.desk import Desk
from studio.easel import Easel
from studio.puller import Puller
from studio.tabs import tab

MODES = ("drag", "move", "appearance")


@tab("Drag", order=30)
def drag(desk: Desk) -> None:
    """Draws the tab."""
    Easel(desk, "Drag", [tasks[name] for name in MODES], board=Puller("drag", desk.runner)).draw()
