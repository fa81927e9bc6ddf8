"""Models: what is where, and adding, fetching, keeping and removing them."""

from __future__ import annotations

from studio.desk import Desk
from studio.stockroom import Stockroom
from studio.tabs import tab


@tab("Models", order=100)
def models(desk: Desk) -> None:
    """Draws the tab."""
    Stockroom(desk).draw()
