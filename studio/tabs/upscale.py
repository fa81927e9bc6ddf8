"""Pictures become larger, one or a folder of them at a time."""

from __future__ import annotations

from pipelines.tasks import tasks
from studio.desk import Desk
from studio.enlarging import Enlarging
from studio.pile import Pile
from studio.tabs import tab


@tab("Upscale", order=40)
def upscale(desk: Desk) -> None:
    """Draws the tab."""
    Enlarging(desk, "Upscale", [tasks["upscale"]], board=Pile("upscale", desk.runner), prefix="upscale-").draw()
