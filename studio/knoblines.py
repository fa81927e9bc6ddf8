"""Knobs as lines of text, `method.knob = value`: for the unusual methods of a tab, which get no controls there."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from typing import Any

from pipelines.errors import BadRequest

MORE = "more"  # the last word of the path of such a control


def spoken(knobs: Mapping[str, Any]) -> str:
    """A line for each knob, by its path."""
    return "\n".join(f"{path} = {_value(value)}" for path, value in knobs.items())


def heard(label: str, text: Any, methods: Sequence[str], known: Container[str]) -> dict[str, Any]:
    """Knobs by their path, of those methods alone: what is said of others that are known is left from before. Raises
    BadRequest naming the line."""
    knobs: dict[str, Any] = {}
    for line in str(text or "").splitlines():
        path, sign, value = (part.strip() for part in line.partition("="))
        method = path.split(".")[0]
        if not line.strip() or (method in known and method not in methods):
            continue
        if not sign or "." not in path or not value or method not in known:
            raise BadRequest(f"{label}, more knobs: '{line.strip()[:60]}' should be like 'method.knob = value'.")
        knobs[path] = _read(value)
    return knobs


def _value(value: Any) -> str:
    """A string is written bare where it reads back as the same string."""
    return value if isinstance(value, str) and value and _read(value) == value else json.dumps(value)


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
