"""One picture becomes another, step by step."""

from __future__ import annotations

from pipelines.tasks import tasks
from studio.desk import Desk
from studio.easel import Easel
from studio.tabs import tab

EXAMPLES = ("a red balloon over the sea", "a panda in the snow", "a castle in the desert")


@tab("Between", order=65)
def between(desk: Desk) -> None:
    """Draws the tab."""
    invite = "One picture becomes another, step by step."
    Easel(desk, "Between", [tasks["inbetween"]], EXAMPLES, prefix="inbetween-", invite=invite).draw()
