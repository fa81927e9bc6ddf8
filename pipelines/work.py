"""What a job asks of memory, and what it is lent. Memory, rooms and those who reckon for a job speak of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.parts import Part
from pipelines.resident import Resident, Rung


@dataclass(frozen=True)
class Work:
    """What a job will lend: how many pixels it paints, the feature maps that a pass of each part needs, by key, and
    bytes of weights that will be lent beside one of these, such as adapters; with `gradients`, passes keep their maps
    and are measured apart from others."""

    pixels: int = 0
    maps: Mapping[str, float] = field(default_factory=dict)
    beside: int = 0
    gradients: bool = False
    parts: tuple[Part, ...] = ()  # what can be told of it before it runs


@dataclass
class Lending:
    """One block in which a part is lent: the bytes in use on the device before it, and the most while it lasts."""

    resident: Resident
    rung: Rung
    pixels: int
    before: int = 0
    most: int = 0
    mixed: bool = False  # something else was lent meanwhile, so that nobody knows whose bytes they were
