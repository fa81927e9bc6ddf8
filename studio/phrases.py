"""Words for the line above and the line below Generate."""

from __future__ import annotations

from typing import Any

from pipelines.estimate import Expectation

GIB = 1024**3


def expected(expectation: Expectation) -> dict[str, Any]:
    """What a request will cost, as the line above Generate says it."""
    known = expectation.seconds is not None
    seconds = f"About {spoken(expectation.seconds or 0)}" if known else ""
    parts = [seconds, size(expectation.bytes) if expectation.bytes else "", expectation.remark]
    return {"text": " · ".join(filter(None, parts)), "known": "yes" if known else "no"}


def said(text: str, kind: str = "news") -> dict[str, str]:
    """A sentence for the line under the form: news, or an error that goes once it is mended."""
    return {"text": text, "kind": kind}


def spoken(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def size(count: int) -> str:
    """Bytes as people say them."""
    return f"{count / GIB:.1f} GB" if count >= GIB / 10 else f"{count / 2**20:.0f} MB"
