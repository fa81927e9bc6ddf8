"""No search."""

from __future__ import annotations

from pipelines.searches import Search, searches


@searches.register("none")
class Unsearched(Search):
    """The picture of the seed, as it comes."""

    off = True
