"""A tab that is a form on the left and a viewer on the right, for one task that paints. It holds the form's events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from pipelines.errors import StudioError
from pipelines.models import ModelSpec, models
from pipelines.request import Request
from pipelines.tasks import Task, parse
from studio.desk import Desk
from studio.form import QUIET, Form
from studio.phrases import expected, said
from studio.presets import CUSTOM, USUAL, at_quality, fitted, qualities, quality_of, shape_of, shaped, shapes
from studio.uploads import recipe_in
from studio.viewer import Watch, viewer


class Easel:
    """Form, presets, Generate and Stop, viewer; wired to each other and to the runner."""

    def __init__(self, desk: Desk, task: Task, examples: Sequence[str] = ()) -> None:
        self.desk, self.task, self.examples = desk, task, list(examples)
        self.form = Form(task.request, {"model": desk.picker})
        self.watch = Watch(desk.runner, desk.shared, task.name)

    def draw(self) -> None:
        """Draw and wire the tab, in the Blocks that are being built."""
        with gr.Row(elem_classes="desk", equal_height=False):
            with gr.Column(elem_classes="rail", min_width=320, scale=0):
                self._draw_rail()
            with gr.Column(elem_classes="easel", min_width=320, scale=1):
                self.stage = viewer(self.task.name, self.examples)
        self.form.fill(self._first())
        self._wire()

    def _draw_rail(self) -> None:
        spec = self._spec(str(self.desk.picker.value))
        with gr.Column(elem_classes="card"):
            self.form.draw(name for name in self.form.fields(advanced=False) if name == "prompt")
            names = list(qualities(spec)) if spec else [USUAL]
            self.quality = gr.Radio(names, value=USUAL, label="Quality", elem_classes="segmented")
            self.shape = gr.Radio(
                list(shapes(spec)) if spec else ["Square"], value="Square", label="Shape", elem_classes="segmented"
            )
            self.form.draw(self.form.fields(advanced=False))
        with gr.Accordion("Advanced", open=False, elem_classes="advanced"):
            self.form.draw(self.form.fields(advanced=True))
        with gr.Column(elem_classes="deeds"):
            self.expectation = gr.HTML(
                {"text": "", "known": ""},
                html_template='<p class="expectation" data-known="{{value.known}}">{{value.text}}</p>',
            )
            with gr.Row(elem_classes="buttons", equal_height=True):
                self.go = gr.Button("Generate", variant="primary", elem_classes="go", scale=3)
                self.stop = gr.Button("Stop", variant="secondary", elem_classes="halt", interactive=False, scale=1)
            self.note = gr.HTML(said(""), html_template='<p class="note" role="alert">{{value.text}}</p>')

    def _wire(self) -> None:
        form, outputs = self.form.inputs, [self.quality, self.shape, self.expectation, self.note]
        everything = [*form, *outputs]
        latest: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
        for control in form:
            if control is not self.desk.picker:
                # A Textbox says "input" on key presses only: neither on paste nor on a phone.
                changes = control.change if isinstance(control, gr.Textbox) else control.input  # type: ignore[attr-defined]
                changes(self._settle, [self.note, *form], outputs, **latest)
        self.quality.input(self._pick_quality, [self.quality, *form], everything, **latest)
        self.shape.input(self._pick_shape, [self.shape, *form], everything, **latest)
        self.desk.picker.input(self._pick_model, [self.quality, self.shape, *form], everything, **latest)
        self.go.click(self._paint, form, self.note, trigger_mode="multiple", **QUIET)
        self.stop.click(None, None, None, js="() => window.dispatchEvent(new Event('palimpsest:stop'))")
        self.stage.settled(self._settle, [self.note, *form], outputs, **latest)
        self.stage.reuse(self._reuse, None, everything, **latest)
        self.stage.dropped(self._restore, None, everything, **latest)
        self.stage.example(self._example, form, everything, **latest)
        self.desk.blocks.load(self._return, None, everything, **QUIET)
        self.watch.attach(self.desk.blocks, self.stage, self.desk.gauge, self.stop)

    def _return(self, who: gr.Request) -> list[Any]:
        """A page comes: its settings as they were, or as the first model likes them."""
        request = self.desk.recall(self.form.request, who)
        spec = self._spec(getattr(request, "model", ""))
        return self._showing(self._first() if request is None or spec is None else request)

    def _first(self) -> Request:
        """What the form holds before anybody has touched it: what the first model likes."""
        request: Request = self.form.request.model_validate({})
        spec = self._spec(str(self.desk.picker.value))
        return fitted(request, spec) if spec else request

    def _settle(self, who: gr.Request, note: Any, *values: Any) -> list[Any]:
        """Something was changed: say what it will cost, and which presets it is. An error that is mended goes."""
        try:
            request = self.form.read(values)
        except StudioError as error:
            return [gr.skip(), gr.skip(), gr.skip(), said(str(error), "error")]
        self.desk.remember(request, who)
        mended = isinstance(note, dict) and note.get("kind") == "error"
        return [*self._summary(request), said("") if mended else gr.skip()]

    def _pick_quality(self, who: gr.Request, name: str, *values: Any) -> list[Any]:
        return self._picked(values, lambda request, spec: at_quality(request, spec, name), who)

    def _pick_shape(self, who: gr.Request, name: str, *values: Any) -> list[Any]:
        return self._picked(values, lambda request, spec: shaped(request, spec, name), who)

    def _pick_model(self, who: gr.Request, quality: str, shape: str, *values: Any) -> list[Any]:
        return self._picked(values, lambda request, spec: fitted(request, spec, quality, shape), who)

    def _picked(self, values: Sequence[Any], change: Any, who: gr.Request) -> list[Any]:
        try:
            before = self.form.read(values)
            spec = self._spec(getattr(before, "model", ""))
            after = change(before, spec) if spec else before
        except StudioError as error:
            return self._saying(str(error))
        self.desk.remember(after, who)
        return self._showing(after, before)

    def _paint(self, who: gr.Request, *values: Any) -> dict[str, str]:
        try:
            request = self.form.read(values)
            self.desk.submit(request, who)
        except StudioError as error:
            return said(str(error), "error")
        self.desk.remember(request, who)
        return said("")

    def _example(self, who: gr.Request, event: gr.EventData, *values: Any) -> list[Any]:
        prompt = str(event._data.get("prompt", ""))[:200]
        filled = [prompt if path == "prompt" else value for path, value in zip(self.form.controls, values, strict=True)]
        note = self._paint(who, *filled)
        return [
            *(prompt if path == "prompt" else gr.skip() for path in self.form.controls),
            gr.skip(),
            gr.skip(),
            gr.skip(),
            note,
        ]

    def _reuse(self, event: gr.EventData, who: gr.Request) -> list[Any]:
        return self._restored(event._data.get("recipe"), "", who)

    def _restore(self, event: gr.EventData, who: gr.Request) -> list[Any]:
        try:
            recipe = recipe_in(str(event._data.get("path", "")))
        except StudioError as error:
            return self._saying(str(error))
        return self._restored(recipe, f" from {str(event._data.get('name', 'the picture'))[:60]}", who)

    def _restored(self, recipe: Any, source: str, who: gr.Request) -> list[Any]:
        try:
            request = parse(recipe)
            if not isinstance(request, self.form.request):
                raise StudioError(f"This picture was made by {request.task.replace('_', ' ')}, which has another tab.")
            if request.model not in models:  # type: ignore[attr-defined]
                raise StudioError(f"The settings{source} name the model {request.model[:60]}, which is not here.")  # type: ignore[attr-defined]
        except StudioError as error:
            return self._saying(str(error))
        self.desk.remember(request, who)
        return self._showing(
            request, note=f"Settings{source} are back, seed {request.seed}. Clear the seed for another picture."
        )

    def _showing(self, request: Request, before: Request | None = None, note: str = "") -> list[Any]:
        return [*self.form.show(request, before), *self._summary(request), said(note)]

    def _saying(self, error: str) -> list[Any]:
        return [*(gr.skip() for _ in self.form.controls), gr.skip(), gr.skip(), gr.skip(), said(error, "error")]

    def _summary(self, request: Request) -> list[Any]:
        """Quality, shape and expectation of what the form holds."""
        spec = self._spec(getattr(request, "model", ""))
        if spec is None:
            return [gr.skip(), gr.skip(), {"text": "No model is installed here.", "known": "yes"}]
        radios = [
            picked(quality_of(request, spec), list(qualities(spec))),
            picked(shape_of(request, spec), list(shapes(spec))),
        ]
        return [*radios, expected(self.desk.runner.expect(request))]

    def _spec(self, name: str) -> ModelSpec | None:
        return next((spec for known, spec in models.items() if known == name), None)


def picked(name: str, names: list[str]) -> Any:
    """A segmented control at `name`; Custom is among its segments only while it is chosen."""
    return gr.update(choices=[*names, CUSTOM] if name == CUSTOM else names, value=name)
