"""A request type, drawn: controls from its fields, and back to a request. It runs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic.fields import FieldInfo

from pipelines.method import Choice, Method, OneOf
from pipelines.models.adapters import adapters, vaes
from pipelines.painting import Sampled
from pipelines.registry import Registry
from pipelines.request import Request, validated
from pipelines.styles import styles
from studio.controls import choice_of, drawn, is_many, knob_of, plain
from studio.knoblines import MORE, heard, spoken

# control -> what it offers
SCANNED: dict[str, Mapping[str, Any]] = {"adapters": adapters, "vae": vaes, "styles": styles}
VOWEL = re.compile("[aeiou]")
SCANNABLE = 10  # choices of a list that the eye finds its way in; longer ones are searched by typing
SPELLED = ("sde", "ddim", "apg")  # words with vowels that are letters, too
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}  # an event of the page


class Form:
    """The controls of one request type, by path: `steps`, `sampler`, and `sampler.heun.churn` for a knob beneath.

    `given` are controls that stand elsewhere on the page, such as the model picker in the header. What nobody drew,
    `read` leaves at the request's default. `prefix` begins the ids of controls, which are one a page. Where there is
    one, of what all sampled tasks share only the usual methods get a control for each knob, the others a text of them:
    with controls for all in every tab, Gradio took 13 seconds in place of 3 to show the page.
    """

    def __init__(self, request: type[Request], given: Mapping[str, Component] | None = None, prefix: str = "") -> None:
        self.request, self.prefix = request, prefix
        self.controls: dict[str, Component] = dict(given or {})

    @property
    def inputs(self) -> list[Component]:
        """All controls, in the order that `read` expects their values."""
        return list(self.controls.values())

    @property
    def requests(self) -> tuple[type[Request], ...]:
        """The request types it can hold."""
        return (self.request,)

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
                self.controls[name] = drawn(name, field, elem_id=f"{self.prefix}knob-{name}")
            elif mark.registry:
                self._draw_choice(name, field, mark)

    def read(self, values: Sequence[Any]) -> Request:
        """The request that the controls hold. Raises BadRequest naming the field."""
        held = dict(zip(self.controls, values, strict=True))
        fields = {name: self._held(name, held) for name in held if "." not in name}
        return validated(self.request, fields)  # type: ignore[no-any-return]

    def show(self, request: Request, before: Request | None = None) -> list[Any]:
        """A value for every control, so that it holds `request`. Left as they are: knobs of methods not chosen that the
        chosen one has not, and what `before`, which the controls hold already, has the same."""
        flat, held = self._whole(request), self._whole(before) if before else {}
        return [
            self._fresh(path, flat[path]) if path in flat and flat[path] != held.get(path, ...) else gr.skip()
            for path in self.controls
        ]

    def _fresh(self, path: str, value: Any) -> Any:
        """A value for a control; with the choices there are by now where a scan may have found more."""
        field = self.request.model_fields.get(path)
        names = list(SCANNED.get(knob_of(path, field).control, ())) if field else []
        return gr.update(choices=[*own_choices(self.controls[path]), *names], value=value) if names else value

    def fill(self, request: Request) -> None:
        """Have the controls begin with `request`, while the page is being built."""
        for path, value in self._whole(request).items():
            if path in self.controls:
                self.controls[path].value = value

    def _whole(self, request: Request) -> dict[str, Any]:
        """What the controls hold, by path; what is set of a chosen method goes for others that have the same knob with
        the same default: guidance keeps the scale that a model wants when somebody picks another kind of it."""
        flat = self._flat(request)
        shared: dict[str, Any] = {}
        for name, value in request:
            mark = choice_of(self.request.model_fields[name])
            if mark is None or not mark.registry or not isinstance(value, Choice):
                continue
            ours = mark.registry[value.name].model_fields
            for path in (each for each in self.controls if each.startswith(f"{name}.") and each.count(".") == 2):
                _, method, knob = path.split(".")
                field = mark.registry[method].model_fields[knob]
                if knob in ours and repr(field) == repr(ours[knob]) and f"{name}.{value.name}.{knob}" in flat:
                    shared[path] = flat[f"{name}.{value.name}.{knob}"]
        return shared | flat

    def _flat(self, request: Request) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for name, value in request:
            mark = choice_of(self.request.model_fields[name])
            if mark is None:
                flat[name] = plain(value)
                continue
            choices = [value] if isinstance(value, Choice) else list(value)
            flat[name] = value.name if isinstance(value, Choice) else [each.name for each in choices]
            for choice in choices:
                flat |= _spelled(f"{name}.{choice.name}", choice.build(mark.registry).model_dump(mode="json"))
            if f"{name}.{MORE}" in self.controls:
                flat[f"{name}.{MORE}"] = spoken(self._undrawn(name, flat))
        return flat

    def _undrawn(self, name: str, flat: Mapping[str, Any]) -> dict[str, Any]:
        """Knobs of a choice that have no control of their own, by their path beneath it."""
        start = f"{name}."
        return {
            path.removeprefix(start): value
            for path, value in flat.items()
            if path.startswith(start) and path not in self.controls
        }

    def _held(self, name: str, held: Mapping[str, Any]) -> Any:
        field = self.request.model_fields[name]
        if choice_of(field) is None:
            return held[name] if held[name] is not None or field.default is None else field.default
        if f"{name}.{MORE}" in held:
            methods = list(held[name] or []) if is_many(field) else [held[name]]
            lines = heard(knob_of(name, field).label, held[f"{name}.{MORE}"], methods, choice_of(field).registry)  # type: ignore[union-attr]
            held = {**held, **{f"{name}.{path}": value for path, value in lines.items()}}
        if is_many(field):
            return [_choice(name, each, held) for each in held[name] or []]
        return _choice(name, held[name], held)

    def _draw_choice(self, name: str, field: FieldInfo, mark: OneOf) -> None:
        knob, registry = knob_of(name, field), mark.registry
        chosen = [each.name for each in field.default] if is_many(field) else [field.default.name]
        place = {
            "label": knob.label,
            "info": said(registry, chosen, field),
            "elem_id": f"{self.prefix}knob-{name}".replace(".", "-"),
        }
        names = [(registry[each].title or title(each), each) for each in registry]
        if is_many(field):
            picker: Component = gr.CheckboxGroup(names, value=chosen, **place)
        else:
            picker = gr.Dropdown(names, value=chosen[0], filterable=len(names) > SCANNABLE, **place)
        self.controls[name] = picker
        sparing = bool(self.prefix) and name in Sampled.model_fields
        own = chosen if sparing else registry
        drawn_knobs = {each: self._draw_knobs(f"{name}.{each}", registry[each], each in chosen) for each in own}
        groups = {each: group for each, group in drawn_knobs.items() if group is not None}
        more = [self._draw_more(name)] if sparing else []

        def switch(value: Any, *texts: str) -> list[Any]:
            now = value if isinstance(value, list) else [value]
            seen = [gr.update(visible=each in now) for each in groups]
            return [
                gr.update(info=said(registry, now, field)),
                *seen,
                *(self._said(name, registry, now, each) for each in texts),
            ]

        picker.change(switch, [picker, *more], [picker, *groups.values(), *more], **QUIET)  # type: ignore[attr-defined]

    def _draw_more(self, name: str) -> gr.Textbox:
        """The text of all knobs that have no control here."""
        more = gr.Textbox(
            "",
            label=f"{knob_of(name, self.request.model_fields[name]).label}: knobs",
            info="One a line. The tab Create has a control for each.",
            lines=2,
            max_lines=8,
            placeholder=" ",  # the page hides it while it is empty; news of that would be lost before its tab is opened
            elem_classes="knob-lines",
            elem_id=f"{self.prefix}knob-{name}-{MORE}",
        )
        self.controls[f"{name}.{MORE}"] = more
        return more

    def _said(self, name: str, registry: Registry[Any], methods: Sequence[str], text: str) -> str:
        """What the text says of these methods, and of each that it does not speak of all that its knobs are."""
        known = [line for line in str(text or "").splitlines() if line.split(".")[0] in methods]
        for each in methods:
            if not any(line.startswith(f"{each}.") for line in known):
                knobs = Choice(name=each).build(registry).model_dump(mode="json")
                known += spoken(self._undrawn(name, _spelled(f"{name}.{each}", knobs))).splitlines()
        return "\n".join(known)

    def _draw_knobs(self, path: str, method: type[Method], visible: bool) -> gr.Column | None:
        if not method.model_fields:
            return None
        with gr.Column(visible=visible, elem_classes="beneath") as group:
            for knob, field in method.model_fields.items():
                mark = choice_of(field)
                if mark is not None:
                    self._draw_choice(f"{path}.{knob}", field, mark)
                    continue
                self.controls[f"{path}.{knob}"] = drawn(
                    knob, field, elem_id=f"{self.prefix}knob-{path}-{knob}".replace(".", "-")
                )
        return group


def title(name: str) -> str:
    """A method's name as people write it: dpmpp_2m is DPM++ 2M, heun is Heun."""
    words = name.replace("dpmpp", "DPM++").split("_")
    spelled = [word.upper() if word in SPELLED or not VOWEL.search(word) else word for word in words]
    return " ".join([spelled[0][:1].upper() + spelled[0][1:], *spelled[1:]])


def said(registry: Mapping[str, type[Method]], names: Sequence[Any], field: FieldInfo) -> str:
    """What a picker says beneath its label: what the chosen methods do, or what the field is for."""
    return " ".join(registry[name].summary() for name in names if name in registry) or str(field.description)


def own_choices(control: Component) -> list[Any]:
    """What a control offers whatever a scan finds, such as the model's own autoencoder."""
    return [each for each in getattr(control, "choices", []) if each[1] == ""]


def _is_drawable(name: str, field: FieldInfo) -> bool:
    mark = choice_of(field)
    return (
        name != "task"
        and knob_of(name, field).control not in ("model", "hidden")
        and (mark is None or bool(mark.registry))
    )


def _choice(name: str, chosen: Any, held: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"{name}.{chosen}."
    beneath = {path.removeprefix(prefix): value for path, value in held.items() if path.startswith(prefix)}
    knobs = {
        knob: _choice(prefix + knob, value, held) if any(path.startswith(f"{knob}.") for path in beneath) else value
        for knob, value in beneath.items()
        if "." not in knob
    }
    return {"name": chosen, "knobs": knobs}


def _spelled(path: str, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Knobs by the path of their controls; a knob that is a choice itself with its knobs beneath."""
    flat: dict[str, Any] = {}
    for knob, value in knobs.items():
        place = f"{path}.{knob}"
        if isinstance(value, dict) and set(value) == {"name", "knobs"}:
            flat |= {place: value["name"], **_spelled(f"{place}.{value['name']}", value["knobs"])}
        else:
            flat[place] = value
    return flat
