"""Words for the line above and the line below Generate."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipelines.estimate import Expectation
from pipelines.request import Request

GIB = 1024**3


def expected(expectation: Expectation, warning: str = "") -> dict[str, Any]:
    """What a request will cost, as the line above Generate says it; a warning comes before all else."""
    known = expectation.seconds is not None
    seconds = f"About {spoken(expectation.seconds or 0)}" if known else ""
    parts = [seconds, size(expectation.bytes) if expectation.bytes else "", expectation.remark]
    text = " · ".join(filter(None, parts))
    return {"text": f"{warning} {text}".strip(), "known": "warned" if warning else "yes" if known else "no"}


def said(text: str, kind: str = "news", of: str = "") -> dict[str, str]:
    """A sentence for the line under the form: news, or an error that goes once it is mended. `of` is the request, as
    JSON, that an error is about."""
    return {"text": text, "kind": kind, "of": of}


def mended(note: Any, request: Request) -> Any:
    """The line under the form, once it holds a request that can be read: an error goes, but for one about this very
    request."""
    is_error = isinstance(note, dict) and note.get("kind") == "error"
    return said("") if is_error and note.get("of") != request.to_json() else gr.skip()


def spoken(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def size(count: int) -> str:
    """Bytes as people say them."""
    return f"{count / GIB:.1f} GB" if count >= GIB / 10 else f"{count / 2**20:.0f} MB"
