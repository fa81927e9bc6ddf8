"""A handful of pictures becomes a word that works in every tab."""

from __future__ import annotations

from studio.atelier import Atelier
from studio.desk import Desk
from studio.tabs import tab


@tab("Personalize", order=60)
def personalize(desk: Desk) -> None:
    """Draws the tab."""
    Atelier(desk).draw()
