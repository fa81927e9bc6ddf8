"""Qualities and shapes: short names for several fields of a request at once. It knows no controls."""

from __future__ import annotations

from typing import Any

from pipelines.models import ModelSpec
from pipelines.painting import Sampled
from pipelines.request import Request, validated

CUSTOM = "Custom"
USUAL = "Balanced"
GRID = 8  # pixels that every width and height is a multiple of
SMALLEST = 96  # pixels of a square, however small the pictures that a model was trained on


def shapes(spec: ModelSpec) -> dict[str, tuple[int, int]]:
    """Width and height by name, all near the area of the pictures that the model was trained on."""
    side = max(spec.side, SMALLEST)
    short, long = (round(side * share / GRID) * GRID for share in (3 / 4, 5 / 4))
    return {"Square": (side, side), "Portrait": (short, long), "Landscape": (long, short)}


def qualities(spec: ModelSpec) -> dict[str, dict[str, Any]]:
    """What each quality of a model sets."""
    return {preset.name: preset.values for preset in spec.presets}


def shape_of(request: Request, spec: ModelSpec) -> str:
    """The name of a request's shape."""
    size = getattr(request, "width", None), getattr(request, "height", None)
    return next((name for name, each in shapes(spec).items() if each == size), CUSTOM)


def quality_of(request: Request, spec: ModelSpec) -> str:
    """The quality whose every field the request holds."""
    whole = changed(request, {})  # every knob spelled out
    return next((name for name in qualities(spec) if at_quality(whole, spec, name) == whole), CUSTOM)


def shaped(request: Request, spec: ModelSpec, name: str) -> Request:
    """The same request at a shape of the model; unchanged where the name is none of its shapes."""
    size = shapes(spec).get(name)
    return changed(request, {"width": size[0], "height": size[1]}) if size else request


def at_quality(request: Request, spec: ModelSpec, name: str) -> Request:
    """The same request at a quality of the model, in all that its task has no default of its own for, and in guidance
    where that lies within an adapter; unchanged where the name is none of its qualities."""
    if name not in qualities(spec):
        return request
    kind, whole = type(request), qualities(spec)[name]
    within = {"guidance"} if whole.get("adapters") else set()
    values = {field: value for field, value in whole.items() if field in within or not _is_own(kind, field)}
    return changed(request, _worn(request, spec, values))


def _worn(request: Request, spec: ModelSpec, values: dict[str, Any]) -> dict[str, Any]:
    """What a quality sets, with the adapters that somebody put on beside its own; those of other qualities go, and the
    guidance that went with them."""
    few = {each["name"] for preset in qualities(spec).values() for each in preset.get("adapters", [])}
    on = [each.model_dump() for each in getattr(request, "adapters", ())]
    kept = [each for each in on if each["name"] not in few]
    if not few or (kept == on and "adapters" not in values):
        return values
    own = type(request).model_fields["guidance"].default if _is_own(type(request), "guidance") else None
    usual = {} if kept == on else {"guidance": own or spec.defaults.get("guidance", "cfg")}
    return {**usual, **values, "adapters": [*kept, *values.get("adapters", [])]}


def fitted(request: Request, spec: ModelSpec, quality: str = USUAL, shape: str = "Square") -> Request:
    """A request as the model likes it where its task has no default of its own: defaults, a quality, then a shape."""
    liked = {field: value for field, value in spec.defaults.items() if not _is_own(type(request), field)}
    own = changed(request, {"model": spec.name, **liked})
    return shaped(at_quality(own, spec, quality if quality in qualities(spec) else USUAL), spec, shape)


def changed(request: Request, values: dict[str, Any]) -> Request:
    """The same request with other values, validated. Raises BadRequest."""
    known = {name: value for name, value in values.items() if name in type(request).model_fields}
    return validated(type(request), {**request.model_dump(), **known})  # type: ignore[no-any-return]


def _is_own(request: type[Request], name: str) -> bool:
    """Whether a task sets another default for a field that all sampled tasks share."""
    usual, own = Sampled.model_fields.get(name), request.model_fields.get(name)
    return usual is not None and own is not None and own.default != usual.default
