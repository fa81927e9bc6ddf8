"""A picture is changed: a part of it, past its edges, all of it, or by a changed prompt."""

from __future__ import annotations

from pipelines.tasks import tasks
from studio.board import Board
from studio.desk import Desk
from studio.easel import Easel
from studio.tabs import tab

MODES = ("inpaint", "outpaint", "repaint", "edit")


@tab("Repaint", order=20)
def repaint(desk: Desk) -> None:
    """Draws the tab."""
    Easel(desk, "Repaint", [tasks[name] for name in MODES], board=Board("repaint", desk.runner)).draw()
