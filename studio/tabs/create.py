"""A sentence becomes pictures."""

from __future__ import annotations

from pipelines.tasks import tasks
from studio.desk import Desk
from studio.easel import Easel
from studio.tabs import tab

EXAMPLES = (
    "a panda in the snow",
    "a red balloon over the sea",
    "a cat and a dog in a meadow",
    "a rocket in the night sky",
    "a castle in the desert",
    "a small whale next to a big sailboat at sea",
)


@tab("Create", order=10)
def create(desk: Desk) -> None:
    """Draws the tab."""
    Easel(desk, "Create", [tasks["text_to_image"]], EXAMPLES).draw()
