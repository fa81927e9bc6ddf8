"""One control per kind of knob. It knows pydantic fields and Gradio components, and no request in particular."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

import gradio as gr
from gradio.components import Component
from pydantic.fields import FieldInfo

from pipelines import plans
from pipelines.grids import knobs_of
from pipelines.knobs import Control, Knob
from pipelines.method import OneOf
from pipelines.models.adapters import adapters, vaes
from pipelines.styles import styles
from pipelines.tasks.text_to_image import TextToImage


def knob_of(name: str, field: FieldInfo) -> Knob:
    """How a field wants to be drawn; a plain control under its own name where it does not say."""
    return next((mark for mark in field.metadata if isinstance(mark, Knob)), Knob(name.replace("_", " ").capitalize()))


def choice_of(field: FieldInfo) -> OneOf | None:
    """The registry that a field chooses from, if it does; a tuple of choices counts."""
    marks = [
        *field.metadata,
        *(mark for each in get_args(field.annotation) for mark in getattr(each, "__metadata__", ())),
    ]
    return next((mark for mark in marks if isinstance(mark, OneOf)), None)


def is_many(field: FieldInfo) -> bool:
    """Whether a field holds several choices, in order."""
    return get_origin(field.annotation) is tuple


def limit(field: FieldInfo, *names: str) -> Any:
    """The first of some limits that a field has, such as `ge` or `lt`."""
    found = (getattr(mark, name, None) for name in names for mark in field.metadata)
    return next((each for each in found if each is not None), None)


def drawn(name: str, field: FieldInfo, **place: Any) -> Component:
    """The control of one field, in the Blocks that are being built. `place` goes to Gradio: elem_id, visible ..."""
    knob = knob_of(name, field)
    literal = get_origin(field.annotation) is Literal
    kind: Control | Literal["pick"] = "pick" if literal else "toggle" if field.annotation is bool else knob.control
    return DRAWERS.get(kind, _text)(knob, field, {"label": knob.label, **place})


def _slider(knob: Knob, field: FieldInfo, place: dict[str, Any]) -> Component:
    low, high = limit(field, "ge", "gt"), limit(field, "le", "lt")
    if low is None or high is None:
        return _number(knob, field, place)
    return gr.Slider(low, high, field.default, step=knob.step or 0.01, info=field.description, **place)


def _number(_: Knob, field: FieldInfo, place: dict[str, Any]) -> Component:
    whole = 0 if int in (field.annotation, *get_args(field.annotation)) else None
    return gr.Number(field.default, precision=whole, info=field.description, **place)


def _lines(knob: Knob, field: FieldInfo, place: dict[str, Any]) -> Component:
    return gr.Textbox(
        field.default, lines=2 if knob.advanced else 3, max_lines=10, placeholder=field.description, **place
    )


def _text(_: Knob, field: FieldInfo, place: dict[str, Any]) -> Component:
    return gr.Textbox(field.default, info=field.description, **place)


def _toggle(_: Knob, field: FieldInfo, place: dict[str, Any]) -> Component:
    return gr.Checkbox(field.default, info=field.description, **place)


def _seed(_: Knob, field: FieldInfo, place: dict[str, Any]) -> Component:
    return gr.Number(field.default, precision=0, placeholder="a fresh one each time", info=field.description, **place)


def _pick(_: Knob, field: FieldInfo, place: dict[str, Any]) -> Component:
    return gr.Dropdown(list(get_args(field.annotation)), value=field.default, info=field.description, **place)


def _adapters(_: Knob, field: FieldInfo, place: dict[str, Any]) -> Component:
    return gr.Dropdown(
        list(adapters), value=[], multiselect=True, allow_custom_value=True, info=field.description, **place
    )


def _styles(_: Knob, field: FieldInfo, place: dict[str, Any]) -> Component:
    return gr.Dropdown(
        list(styles), value=[], multiselect=True, allow_custom_value=True, info=field.description, **place
    )


def _vae(_: Knob, field: FieldInfo, place: dict[str, Any]) -> Component:
    return gr.Dropdown([("The model's own", ""), *vaes], value="", info=field.description, **place)


def _plan(_: Knob, field: FieldInfo, place: dict[str, Any]) -> Component:
    """A plan by name; one made since the page was built may be typed."""
    known = [("none", ""), *((name, name) for name in plans.names())]
    return gr.Dropdown(known, value=field.default, allow_custom_value=True, info=field.description, **place)


def _picture(_: Knob, __: FieldInfo, place: dict[str, Any]) -> Component:
    """A name on the shelf; what shows it is the tab's canvas."""
    return gr.Textbox("", elem_classes="on-shelf", **{**place, "visible": "hidden"})


def _reference(knob: Knob, field: FieldInfo, place: dict[str, Any]) -> Component:
    """A name on the shelf, with a button beside it that puts a picture there; the tab wires it by `brought`."""
    shown = {"elem_id": f"{place['elem_id']}-choose"} if "elem_id" in place else {}
    button = gr.UploadButton(f"{knob.label}: choose", file_types=["image"], elem_classes="bring-picture", **shown)
    gr.HTML(f'<p class="said">{field.description}</p>', padding=False)
    name = gr.Textbox("", elem_classes="on-shelf", **{**place, "visible": "hidden"})
    name.brought = button
    return name


def _pictures(_: Knob, __: FieldInfo, place: dict[str, Any]) -> Component:
    """Names on the shelf; what shows them is the tab's pile."""
    place = {**place, "visible": "hidden"}
    return gr.Dropdown([], value=[], multiselect=True, allow_custom_value=True, elem_classes="on-shelf", **place)


def _axis(_: Knob, field: FieldInfo, place: dict[str, Any]) -> Component:
    """What an axis of a grid varies, of all knobs of a picture."""
    known = [("Nothing", ""), *((word, path) for path, word in knobs_of(TextToImage).items())]
    return gr.Dropdown(known, value=field.default, filterable=True, info=field.description, **place)


def _values(_: Knob, field: FieldInfo, place: dict[str, Any]) -> Component:
    return gr.Textbox(field.default, lines=1, max_lines=4, info=field.description, **place)


def plain(value: Any) -> Any:
    """A field's value as its control holds it: what the request keeps as objects is text to the page."""
    return [str(each) for each in value] if isinstance(value, tuple) else value


DRAWERS: dict[str, Callable[[Knob, FieldInfo, dict[str, Any]], Component]] = {
    "slider": _slider,
    "number": _number,
    "text": _text,
    "lines": _lines,
    "toggle": _toggle,
    "seed": _seed,
    "pick": _pick,
    "picture": _picture,
    "pictures": _pictures,
    "mask": _picture,
    "adapters": _adapters,
    "styles": _styles,
    "vae": _vae,
    "plan": _plan,
    "reference": _reference,
    "axis": _axis,
    "values": _values,
}
