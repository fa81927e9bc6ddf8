"""Everything that was made: found, looked at, used again, compared, traced, carried away, thrown away."""

from __future__ import annotations

from studio.desk import Desk
from studio.gallery import Gallery
from studio.tabs import tab


@tab("Gallery", order=90)
def gallery(desk: Desk) -> None:
    """Draws the tab."""
    Gallery(desk).draw()
