"""Styles: words put around a prompt, chosen by name. Read from tables as A1111's web UI keeps them, `styles.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pipelines.knobs import knob
from pipelines.prompts import clauses
from pipelines.registry import Registry

FILE = "styles.csv"  # in the assets, and in any folder of models
SHIPPED = Path(__file__).parents[1] / "assets" / FILE
PLACE = "{prompt}"  # where a style has the prompt; at its end where it says nothing
COLUMNS = ("name", "prompt", "negative_prompt")
LONGEST, MOST = 2000, 1000  # characters of one style; styles of one table
LARGEST = 2**20  # bytes of a table

Styles = Annotated[
    tuple[Annotated[str, Field(max_length=200)], ...],
    *knob("Styles", "Words put around the prompt. Your own: styles.csv in the models folder.", "styles", max_length=8),
]


@dataclass(frozen=True)
class Style:
    """What is said around a prompt, and what in the negative prompt."""

    prompt: str
    negative: str = ""


styles: Registry[Style] = Registry("style")


def dressed(prompt: str, negative: str, names: Sequence[str]) -> tuple[str, str]:
    """Prompt and negative prompt with these styles, one around the other; of a prompt whose parts AND joins each part.
    Raises UnknownName."""
    parts = clauses(prompt)
    if names and len(parts) > 1:
        texts = (_worn(each.text, names) if each.weight > 0 else each.text for each in parts)
        worded = (f"{text} :{abs(each.weight):g}" for text, each in zip(texts, parts, strict=True))
        joints = ["", *(" AND " if each.weight > 0 else " NOT " for each in parts[1:])]
        prompt = "".join(chain.from_iterable(zip(joints, worded, strict=True)))
    else:
        prompt = _worn(prompt, names)
    return prompt, ", ".join(filter(None, (negative, *(styles[name].negative for name in names))))


def _worn(prompt: str, names: Sequence[str]) -> str:
    for style in (styles[name] for name in names):
        if PLACE in style.prompt:
            prompt = style.prompt.replace(PLACE, prompt)
        else:
            prompt = ", ".join(filter(None, (prompt, style.prompt)))
    return prompt


def read(path: Path) -> dict[str, Style]:
    """The styles of a table with the columns name, prompt and negative_prompt; none where it is no such table."""
    try:
        if path.stat().st_size > LARGEST:
            return {}
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))[:MOST]
    except (OSError, ValueError, csv.Error):
        return {}
    found = {}
    for row in rows:
        name, prompt, negative = (str(row.get(column) or "").strip() for column in COLUMNS)
        if name and (prompt or negative) and max(map(len, (name, prompt, negative))) <= LONGEST:
            found[name] = Style(prompt, negative)
    return found


def scan_styles(folders: Iterable[Path]) -> None:
    """Bring the registry to what ships and what lies in these folders; theirs take the place of ours."""
    found = read(SHIPPED)
    for folder in folders:
        found |= read(folder / FILE)
    for name in list(styles):
        styles.remove(name)
    for name, style in found.items():
        styles.add(name, style)


scan_styles(())
