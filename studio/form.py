"""A request type, drawn: controls from its fields, and back to a request. It runs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic.fields import FieldInfo

from pipelines.method import Choice, Method, OneOf
from pipelines.request import Request, validated
from studio.controls import choice_of, drawn, is_many, knob_of

VOWEL = re.compile("[aeiou]")
SPELLED = ("sde", "ddim", "apg")  # words with vowels that are letters, too
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}  # an event of the page


class Form:
    """The controls of one request type, by path: `steps`, `sampler`, and `sampler.heun.churn` for a knob beneath.

    `given` are controls that stand elsewhere on the page, such as the model picker in the header. What nobody drew,
    `read` leaves at the request's default.
    """

    def __init__(self, request: type[Request], given: Mapping[str, Component] | None = None) -> None:
        self.request = request
        self.controls: dict[str, Component] = dict(given or {})

    @property
    def inputs(self) -> list[Component]:
        """All controls, in the order that `read` expects their values."""
        return list(self.controls.values())

    def fields(self, advanced: bool) -> list[str]:
        """The names that are not drawn yet, of fields that are advanced or are not; what is the request's own first."""
        declared = [name for kind in self.request.__mro__ for name in vars(kind).get("__annotations__", {})]
        fields = sorted(self.request.model_fields.items(), key=lambda each: declared.index(each[0]))
        return [
            name
            for name, field in fields
            if name not in self.controls and knob_of(name, field).advanced == advanced and _is_drawable(name, field)
        ]

    def draw(self, names: Iterable[str]) -> None:
        """Draw fields here, in this order; a choice from a registry with its knobs beneath."""
        for name in names:
            field = self.request.model_fields[name]
            mark = choice_of(field)
            if mark is None:
                self.controls[name] = drawn(name, field, elem_id=f"knob-{name}")
            elif mark.registry:
                self._draw_choice(name, field, mark)

    def read(self, values: Sequence[Any]) -> Request:
        """The request that the controls hold. Raises BadRequest naming the field."""
        held = dict(zip(self.controls, values, strict=True))
        fields = {name: self._held(name, held) for name in held if "." not in name}
        return validated(self.request, fields)  # type: ignore[no-any-return]

    def show(self, request: Request, before: Request | None = None) -> list[Any]:
        """A value for every control, so that it holds `request`. Left as they are: knobs of methods not chosen, and
        what `before`, which the controls hold already, has the same."""
        flat, held = self._flat(request), self._flat(before) if before else {}
        return [
            flat[path] if path in flat and flat[path] != held.get(path, ...) else gr.skip() for path in self.controls
        ]

    def fill(self, request: Request) -> None:
        """Have the controls begin with `request`, while the page is being built."""
        for path, value in self._flat(request).items():
            if path in self.controls:
                self.controls[path].value = value

    def _flat(self, request: Request) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for name, value in request:
            mark = choice_of(self.request.model_fields[name])
            if mark is None:
                flat[name] = value
                continue
            choices = [value] if isinstance(value, Choice) else list(value)
            flat[name] = value.name if isinstance(value, Choice) else [each.name for each in choices]
            for choice in choices:
                knobs = choice.build(mark.registry).model_dump(mode="json")
                flat |= {f"{name}.{choice.name}.{knob}": each for knob, each in knobs.items()}
        return flat

    def _held(self, name: str, held: Mapping[str, Any]) -> Any:
        field = self.request.model_fields[name]
        if choice_of(field) is None:
            return held[name] if held[name] is not None or field.default is None else field.default
        if is_many(field):
            return [_choice(name, each, held) for each in held[name] or []]
        return _choice(name, held[name], held)

    def _draw_choice(self, name: str, field: FieldInfo, mark: OneOf) -> None:
        knob, registry = knob_of(name, field), mark.registry
        chosen = [each.name for each in field.default] if is_many(field) else [field.default.name]
        place = {"label": knob.label, "info": said(registry, chosen, field), "elem_id": f"knob-{name}"}
        names = [(title(each), each) for each in registry]
        if is_many(field):
            picker: Component = gr.CheckboxGroup(names, value=chosen, **place)
        else:
            picker = gr.Dropdown(names, value=chosen[0], filterable=False, **place)
        self.controls[name] = picker
        drawn_knobs = {each: self._draw_knobs(f"{name}.{each}", registry[each], each in chosen) for each in registry}
        groups = {each: group for each, group in drawn_knobs.items() if group is not None}

        def switch(value: Any) -> list[Any]:
            now = value if isinstance(value, list) else [value]
            return [gr.update(info=said(registry, now, field)), *(gr.update(visible=each in now) for each in groups)]

        picker.change(switch, picker, [picker, *groups.values()], **QUIET)  # type: ignore[attr-defined]

    def _draw_knobs(self, path: str, method: type[Method], visible: bool) -> gr.Column | None:
        if not method.model_fields:
            return None
        with gr.Column(visible=visible, elem_classes="beneath") as group:
            for knob, field in method.model_fields.items():
                self.controls[f"{path}.{knob}"] = drawn(knob, field, elem_id=f"knob-{path}.{knob}".replace(".", "-"))
        return group


def title(name: str) -> str:
    """A method's name as people write it: dpmpp_2m is DPM++ 2M, heun is Heun."""
    words = name.replace("dpmpp", "DPM++").split("_")
    spelled = [word.upper() if word in SPELLED or not VOWEL.search(word) else word for word in words]
    return " ".join([spelled[0][:1].upper() + spelled[0][1:], *spelled[1:]])


def said(registry: Mapping[str, type[Method]], names: Sequence[Any], field: FieldInfo) -> str:
    """What a picker says beneath its label: what the chosen methods do, or what the field is for."""
    return " ".join(registry[name].summary() for name in names if name in registry) or str(field.description)


def _is_drawable(name: str, field: FieldInfo) -> bool:
    mark = choice_of(field)
    return (
        name != "task"
        and knob_of(name, field).control not in ("model", "hidden")
        and (mark is None or bool(mark.registry))
    )


def _choice(name: str, chosen: Any, held: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"{name}.{chosen}."
    return {
        "name": chosen,
        "knobs": {path.removeprefix(prefix): value for path, value in held.items() if path.startswith(prefix)},
    }
