"""Grids: one request varied along up to three axes, each any knob of it. Pure values; nothing is painted here.

An axis is a knob by its path, `steps` or `sampler` or `guidance.scale`, and values as somebody types them.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Generic, TypeVar, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipelines.errors import BadRequest
from pipelines.knobs import Knob
from pipelines.method import Choice, OneOf
from pipelines.registry import Registry
from pipelines.request import Request, label, validated

R = TypeVar("R", bound=Request)

MOST = 256  # cells of a grid
NONE = "none"  # the value of an axis that stands for no accelerator, or no adapter
LEFT_OUT = ("task", "count")  # fields that are no axis: what a grid is made of
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
RANGE = re.compile(rf"({NUMBER})\s*-\s*({NUMBER})\s*(?:(:)\s*({NUMBER})|\[\s*(\d{{1,3}})\s*\])?")


@dataclass(frozen=True)
class Axis:
    """One direction of a grid: the knob that varies, empty for none, and its values in order, each as text."""

    knob: str = ""
    values: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Cell(Generic[R]):
    """A place in a grid, from 0 each way, and the request that paints it."""

    column: int
    row: int
    sheet: int
    request: R


def knobs_of(kind: type[Request]) -> dict[str, str]:
    """Every knob that an axis may vary, by path, with its word on the page. `sampler.eta` is that of any sampler."""
    found: dict[str, str] = {}
    for name, field in kind.model_fields.items():
        if name in LEFT_OUT:
            continue
        word = label(kind, name)
        found[name] = f"{word}, words replaced" if _is_prompt(field) else word
        inner = [each for member in _members(field) for each in member.model_fields.items() if each[0] != "name"]
        found |= {f"{name}.{knob}": f"{word}: {_word(knob, each).lower()}" for knob, each in reversed(inner)}
    return found


def names_of(kind: type[Request], knob: str) -> list[str]:
    """What can be picked for a knob by name: methods, literals; empty where it is a number or free text."""
    field = kind.model_fields.get(knob)
    if field is None:
        return []
    registry = registry_of(field)
    if registry is None:
        return [str(each) for each in get_args(field.annotation)] if _is_literal(field) else []
    return [NONE, *registry] if _is_many(field) else list(registry)


def is_whole(kind: type[Request], knob: str) -> bool:
    """Whether a knob takes whole numbers only."""
    return all(int in (each.annotation, *get_args(each.annotation)) for each in _fields(kind, knob))


def axis(kind: type[Request], knob: str, text: str) -> Axis:
    """The axis that somebody typed: names or numbers with commas between, ranges as 1-10, 1-10:3 or 0-1[5], and texts
    with commas in quotes. Raises BadRequest."""
    if not knob:
        return Axis()
    if knob not in knobs_of(kind):
        raise BadRequest(f"there is no knob called {knob[:60]!r}")
    try:
        (items,) = csv.reader([text.replace("\n", ",")], skipinitialspace=True)
    except (csv.Error, ValueError):
        raise BadRequest("these are no values with commas between them") from None
    given = [item.strip() for item in items if item.strip()]
    numeric = all(_is_number(each) for each in _fields(kind, knob))
    values = [value for item in given for value in (_spread(item, is_whole(kind, knob)) if numeric else [item])]
    if not values:
        raise BadRequest(f"give values for {knobs_of(kind)[knob]}, with commas between them")
    return Axis(knob, tuple(dict.fromkeys(values)))


def varied(base: R, axis: Axis, value: str) -> R:
    """A request with a knob at a value. Raises BadRequest, UnknownName where that cannot be."""
    field, _, inner = axis.knob.partition(".")
    if not axis.knob:
        return base
    if inner:
        return _changed(base, field, _inner(base, field, inner, value))
    declared = type(base).model_fields[field]
    if _is_prompt(declared):
        return _changed(base, field, _replaced(str(getattr(base, field)), axis.values[0], value))
    if _is_many(declared):
        return _changed(base, field, [] if value == NONE else [part.strip() for part in value.split("+")])
    return _changed(base, field, value)


def cells(base: R, axes: Sequence[Axis]) -> list[Cell[R]]:
    """All cells of a grid: sheet by sheet, row by row. Names are set before the knobs beneath them, whichever axis they
    are of. Raises BadRequest for a knob that no cell has, a knob named twice, and too many cells."""
    across, down, sheets = axes
    named = [each.knob for each in axes if each.knob]
    if len(set(named)) < len(named):
        raise BadRequest("two axes vary the same knob; choose another for one of them")
    count = math.prod(len(each.values) for each in axes)
    if count > MOST:
        raise BadRequest(f"that makes {count} pictures; a grid has at most {MOST}")
    found = []
    for k, j, i in product(*(range(len(each.values)) for each in (sheets, down, across))):
        steps = zip(axes, (across.values[i], down.values[j], sheets.values[k]), strict=True)
        request = base
        for one, value in sorted(steps, key=lambda each: "." in each[0].knob):
            request = varied(request, one, value) if has(request, one.knob) else request
        found.append(Cell(i, j, k, request))
    for each in axes:
        if each.knob and not any(has(cell.request, each.knob) for cell in found):
            word = knobs_of(type(base))[each.knob]
            raise BadRequest(f"nothing that is chosen has the knob {word!r}")
    return found


def has(request: Request, knob: str) -> bool:
    """Whether a request has a knob: that of a method only where such a method is chosen."""
    field, _, inner = knob.partition(".")
    if not inner:
        return True
    held = getattr(request, field)
    return any(inner in _knobs(each) for each in (held if isinstance(held, tuple) else [held]))


def registry_of(field: FieldInfo) -> Registry[Any] | None:
    """The registry that a field chooses from, be it one or several; None for other fields."""
    inner = [mark for each in get_args(field.annotation) for mark in getattr(each, "__metadata__", ())]
    return next((mark.registry for mark in (*field.metadata, *inner) if isinstance(mark, OneOf)), None)


def _spread(item: str, whole: bool) -> list[str]:
    """A number is itself; 1-10 counts, 1-10:3 in steps of 3, 0-1[5] makes five values of equal distance."""
    found = RANGE.fullmatch(item)
    if not found:
        return [item]
    begin, end = float(found[1]), float(found[2])
    if found[5]:
        count = max(int(found[5]), 2)
        values = [begin + (end - begin) * k / (count - 1) for k in range(count)]
    else:
        step = abs(float(found[4] or 1)) * (1 if end >= begin else -1)
        if step == 0 or abs((end - begin) / step) >= MOST:
            raise BadRequest(f"the range {item[:40]} has too many values; a grid has at most {MOST} pictures")
        values = [begin + step * k for k in range(int(abs(end - begin) / abs(step) + 1e-9) + 1)]
    return [f"{round(each) if whole else round(each, 6):g}" if abs(each) < 1e5 else str(round(each)) for each in values]


def _inner(request: Request, field: str, knob: str, value: str) -> Any:
    """A field's choices with a knob beneath them at a value, on each that has it."""

    def turned(each: Any) -> Any:
        plain = each.model_dump()
        if knob in _knobs(each):
            (plain["knobs"] if isinstance(each, Choice) else plain)[knob] = value
        return plain

    held = getattr(request, field)
    return turned(held) if isinstance(held, Choice) else [turned(each) for each in held]


def _replaced(prompt: str, searched: str, value: str) -> str:
    if searched.casefold() not in prompt.casefold():
        raise BadRequest(f"the first value is what the others replace, and {searched[:60]!r} is not in the prompt")
    return re.sub(re.escape(searched), lambda _: value, prompt, flags=re.IGNORECASE)


def _changed(request: R, field: str, value: Any) -> R:
    return validated(type(request), {**request.model_dump(), field: value})  # type: ignore[no-any-return]


def _knobs(held: Any) -> list[str]:
    return [each for each in (held.knobs if isinstance(held, Choice) else type(held).model_fields) if each != "name"]


def _members(field: FieldInfo) -> list[type[BaseModel]]:
    """What a field chooses from, as far as it has knobs of its own: methods, or choices such as adapters."""
    registry = registry_of(field)
    if registry is not None:
        return list(registry.values())
    inner = get_args(field.annotation)[:1] if _is_many(field) else ()
    return [each for each in inner if isinstance(each, type) and issubclass(each, BaseModel)]


def _fields(kind: type[Request], knob: str) -> list[FieldInfo]:
    """The declarations of a knob; there are several where several methods have one of that name."""
    field, _, inner = knob.partition(".")
    declared = kind.model_fields[field]
    if not inner:
        return [declared]
    return [each.model_fields[inner] for each in _members(declared) if inner in each.model_fields]


def _is_number(field: FieldInfo) -> bool:
    return any(each in (int, float) for each in (field.annotation, *get_args(field.annotation)))


def _is_literal(field: FieldInfo) -> bool:
    return bool(get_args(field.annotation)) and all(isinstance(each, str) for each in get_args(field.annotation))


def _is_many(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _is_prompt(field: FieldInfo) -> bool:
    return any(isinstance(mark, Knob) and mark.control == "lines" for mark in field.metadata)


def _word(name: str, field: FieldInfo) -> str:
    marks: Iterator[str] = (mark.label for mark in field.metadata if isinstance(mark, Knob))
    return next(marks, name.replace("_", " "))
