"""Knobs are compared: one request, varied along up to three axes, with what each picture costs and gives."""

from __future__ import annotations

from studio.comparing import Comparison
from studio.desk import Desk
from studio.tabs import tab


@tab("Compare", order=70)
def compare(desk: Desk) -> None:
    """Draws the tab."""
    Comparison(desk).draw()
