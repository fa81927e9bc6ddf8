"""A form draws every field of every task, and gives back the request it shows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import gradio as gr
import pytest

from pipelines.errors import BadRequest
from pipelines.guidance import guidances
from pipelines.knobs import Steps, knob
from pipelines.method import Choice, Method, OneOf
from pipelines.models import Preset
from pipelines.registry import Registry
from pipelines.request import Request, validated
from pipelines.samplers import samplers
from pipelines.tasks import tasks
from pipelines.tasks.text_to_image import TextToImage
from studio.controls import choice_of, knob_of
from studio.form import Form, title
from studio.presets import CUSTOM, at_quality, fitted, quality_of, shape_of, shaped

TRICKS: Registry[type[Method]] = Registry("trick")


@TRICKS.register("plain")
class Plain(Method):
    """Does nothing. Not even here."""


@TRICKS.register("strong")
class Strong(Method):
    """Does a lot."""

    force: Annotated[float, *knob("Force", "How much.", ge=0, le=9, step=1)] = 2.0


class Toy(Request):
    """Has a field of every kind."""

    task: Literal["toy"] = "toy"
    steps: Steps = 5
    loud: Annotated[bool, *knob("Loud", "Louder.", "toggle")] = False
    mood: Annotated[Literal["calm", "wild"], *knob("Mood", "How it feels.")] = "calm"
    trick: Annotated[Choice, OneOf(TRICKS), *knob("Trick", "Which trick.")] = Choice(name="plain")
    tricks: Annotated[tuple[Annotated[Choice, OneOf(TRICKS)], ...], *knob("Tricks", "More tricks.")] = ()


def drawn(request: type[Request]) -> Form:
    """A form with every field drawn, in Blocks that nobody launches."""
    form = Form(request, {"model": gr.Textbox(render=False)} if "model" in request.model_fields else None)
    with gr.Blocks(analytics_enabled=False):
        for advanced in (False, True):
            form.draw(form.fields(advanced))
    return form


def values(form: Form, request: Request, **others: Any) -> list[Any]:
    """What the controls hold once they show `request`."""
    shown = [
        update if not isinstance(update, dict) else control.value
        for update, control in zip(form.show(request), form.inputs, strict=True)
    ]
    return [others.get(path, value) for path, value in zip(form.controls, shown, strict=True)]


@pytest.mark.parametrize("name", tasks)
def test_every_field_of_a_task_has_a_control_or_says_that_it_has_none(name: str) -> None:
    form = drawn(tasks[name].request)
    for field, declared in tasks[name].request.model_fields.items():
        mark = choice_of(declared)
        hidden = field == "task" or knob_of(field, declared).control == "hidden" or (mark and not mark.registry)
        assert (field in form.controls) != bool(hidden), field


@pytest.mark.parametrize("name", tasks)
def test_what_a_form_shows_it_gives_back(name: str) -> None:
    form = drawn(tasks[name].request)
    request = validated(tasks[name].request, {"seed": 7})
    assert form.read(values(form, request)) == request


def test_every_kind_of_field_makes_the_round_trip() -> None:
    form = drawn(Toy)
    choice = {"name": "strong", "knobs": {"force": 7}}
    request = Toy.model_validate({"loud": True, "mood": "wild", "trick": choice, "tricks": [choice, "plain"]})
    assert form.read(values(form, request)) == request


@pytest.mark.parametrize("sampler", samplers)
def test_a_chosen_method_takes_its_own_knobs_along(sampler: str) -> None:
    form = drawn(TextToImage)
    request = TextToImage.model_validate({"sampler": sampler})
    assert form.read(values(form, request)).sampler == request.sampler  # type: ignore[attr-defined]


def test_limits_and_steps_come_from_the_field() -> None:
    slider = drawn(Toy).controls["steps"]
    assert isinstance(slider, gr.Slider)
    assert (slider.minimum, slider.maximum, slider.step, slider.value) == (1, 150, 1, 5)


def test_knobs_of_a_method_that_is_not_chosen_are_left_alone() -> None:
    form = drawn(Toy)
    request = Toy.model_validate({"trick": "plain"})
    assert form.read(values(form, request, **{"trick.strong.force": 99})) == request


def test_another_kind_of_guidance_keeps_the_scale_that_is_meant_alike() -> None:
    form = drawn(TextToImage)
    gentle = TextToImage.model_validate({"guidance": {"name": "cfg", "knobs": {"scale": 3.0}}})
    shown = values(form, gentle, guidance="regions")
    assert form.read(shown).guidance.knobs["scale"] == 3.0  # type: ignore[attr-defined]
    for name in ("apg", "pag"):  # whose scale is another, with a default of its own
        own = form.read(values(form, gentle, guidance=name)).guidance.knobs["scale"]  # type: ignore[attr-defined]
        assert own == guidances[name]().scale != 3.0  # type: ignore[attr-defined]


def sparing(request: type[Request]) -> Form:
    """A form of a tab that is not the first: unusual methods have a text of their knobs in place of controls."""
    form = Form(request, {"model": gr.Textbox(render=False)}, "other-")
    with gr.Blocks(analytics_enabled=False):
        for advanced in (False, True):
            form.draw(form.fields(advanced))
    return form


@pytest.mark.parametrize(
    ("field", "chosen"),
    [
        *(("sampler", Choice(name=name)) for name in samplers),
        ("sampler", Choice(name="heun", knobs={"churn": 3.5})),
        ("guidance", Choice(name="tfg", knobs={"rounds": 2, "energy": {"name": "colour", "knobs": {}}})),
        ("accelerators", (Choice(name="sada"), Choice(name="todo"))),
    ],
)
def test_a_tab_without_controls_for_a_method_keeps_its_knobs_as_lines(field: str, chosen: Any) -> None:
    form = sparing(TextToImage)
    request = TextToImage(model="", **{field: chosen})
    assert form.read(values(form, request)) == request
    assert len(form.controls) < 0.6 * len(drawn(TextToImage).controls)


def test_a_line_of_knobs_is_read_and_what_is_wrong_with_it_is_said() -> None:
    form = sparing(TextToImage)
    held = dict(zip(form.controls, values(form, TextToImage(model="", sampler=Choice(name="heun"))), strict=True))
    held["sampler.more"] = "heun.churn = 7\ndeis.order = 900"  # the second is of a method that is not chosen
    assert form.read(list(held.values())).sampler.knobs["churn"] == 7
    for line, words in (
        ("heun.churn", "like 'method.knob = value'"),
        ("heun.churn = much", "[Cc]hurn"),
        ("heun.x = 1", "x"),
        ("huen.churn = 3", "like 'method.knob = value'"),
    ):
        with pytest.raises(BadRequest, match=words):
            form.read(list((held | {"sampler.more": line}).values()))


def test_what_is_wrong_is_named_by_its_label() -> None:
    form = drawn(Toy)
    with pytest.raises(BadRequest, match=r"^Steps: "):
        form.read(values(form, Toy(), steps=1000))
    with pytest.raises(BadRequest, match=r"^Force: "):
        form.read(values(form, Toy.model_validate({"trick": "strong"}), **{"trick.strong.force": 99}))


def test_only_what_changed_is_shown_again() -> None:
    form = drawn(TextToImage)
    before = TextToImage.model_validate({"prompt": "a cat"})
    updates = dict(zip(form.controls, form.show(before.model_copy(update={"steps": 9}), before), strict=True))
    assert updates["steps"] == 9
    assert isinstance(updates["prompt"], dict)
    assert "value" not in updates["prompt"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("dpmpp_2m", "DPM++ 2M"), ("heun", "Heun"), ("euler_ancestral", "Euler ancestral"), ("cfg", "CFG")],
)
def test_a_method_is_called_what_people_call_it(name: str, shown: str) -> None:
    assert title(name) == shown


def test_a_method_may_bring_its_own_title() -> None:
    picker = next(each for path, each in drawn(TextToImage).controls.items() if path == "sampler")
    assert ("UniPC", "unipc") in picker.choices and ("DPM++ 2M", "dpmpp_2m") in picker.choices


class Spec:
    """As much of a ModelSpec as presets look at."""

    name, side = "toy", 256
    defaults = {"guidance": {"name": "cfg", "knobs": {"scale": 3}}, "of_another_task": 1}
    presets = (Preset("Draft", {"steps": 4, "sampler": "lcm"}), Preset("Balanced", {"steps": 20, "sampler": "heun"}))


def test_a_model_sets_its_defaults_its_quality_and_its_size() -> None:
    request: Any = fitted(TextToImage(), Spec, "Draft", "Portrait")  # type: ignore[arg-type]
    assert (request.model, request.steps, request.sampler.name) == ("toy", 4, "lcm")
    assert request.guidance.knobs["scale"] == 3
    assert (request.width, request.height) == (192, 320)


def test_a_preset_is_known_by_what_it_sets_and_by_nothing_else() -> None:
    request: Any = fitted(TextToImage(), Spec)  # type: ignore[arg-type]
    assert (quality_of(request, Spec), shape_of(request, Spec)) == ("Balanced", "Square")  # type: ignore[arg-type]
    assert quality_of(request.model_copy(update={"prompt": "a cat"}), Spec) == "Balanced"  # type: ignore[arg-type]
    assert quality_of(request.model_copy(update={"steps": 21}), Spec) == CUSTOM  # type: ignore[arg-type]
    assert shape_of(request.model_copy(update={"width": 248}), Spec) == CUSTOM  # type: ignore[arg-type]


def test_a_name_that_is_no_preset_changes_nothing() -> None:
    request = fitted(TextToImage(), Spec)  # type: ignore[arg-type]
    assert at_quality(request, Spec, CUSTOM) == shaped(request, Spec, CUSTOM) == request  # type: ignore[arg-type]
