"""Tabs: one file each, found by being there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.registry import Registry, discover

if TYPE_CHECKING:
    from studio.desk import Desk

__all__ = ["Tab", "tab", "tabs"]


@dataclass(frozen=True)
class Tab:
    """A tab: its name, its place in the row (the lowest first), and the function that draws it."""

    name: str
    order: int
    draw: Callable[[Desk], None]


tabs: Registry[Tab] = Registry("tab")


def tab(name: str, order: int) -> Callable[[Callable[[Desk], None]], Callable[[Desk], None]]:
    """Registers a function that draws a tab."""

    def keep(draw: Callable[[Desk], None]) -> Callable[[Desk], None]:
        tabs.add(name, Tab(name, order, draw))
        return draw

    return keep


def in_order() -> list[Tab]:
    """The tabs as they stand in the row."""
    return sorted(tabs.values(), key=lambda each: each.order)


discover(__name__, list(__path__))
