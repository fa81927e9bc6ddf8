"""The Personalize tab: a tray of pictures, a form and a start; beside them the training and what came of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from pipelines.errors import StudioError
from pipelines.request import Request
from pipelines.tasks.personalize import PRESETS, Personalize, presets_of
from studio.answers import picked, spec_of
from studio.classroom import Classroom
from studio.desk import Desk
from studio.form import QUIET, Form
from studio.phrases import expected, mended, said
from studio.portfolio import KINDS
from studio.presets import CUSTOM, changed
from studio.security import owner_of
from studio.theme import read
from studio.tray import Tray, tray

PLACE = "Personalize"
LATEST: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
QUALITIES = [preset.name for preset in PRESETS]
SIDE = 256  # pixels that pictures should have where no model says


class Atelier:
    """Draws the tab and answers it. Each answer is the form's controls, quality, tray, expectation and note."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.tray = desk, Tray(desk.library)
        self.form = Form(Personalize, {"model": desk.picker}, "personalize-")
        self.classroom = Classroom(desk)

    def draw(self) -> None:
        """Draw and wire the tab, in the Blocks that are being built."""
        with gr.Row(elem_classes="desk", equal_height=False):
            with gr.Column(elem_classes="rail", min_width=320, scale=0):
                self._draw_rail()
            with gr.Column(elem_classes="easel", min_width=320, scale=1):
                self.sheet = gr.HTML(
                    {"state": "idle"},
                    html_template=read("course.html"),
                    js_on_load=read("attach.js") + read("course.js"),
                    apply_default_css=False,
                    elem_id="course",
                    proofs=[],
                    taught=[],
                    told={},
                    kinds=list(KINDS),
                )
        self._wire()

    def _draw_rail(self) -> None:
        with gr.Column(elem_classes="card"):
            self.pictures = tray()
            self.form.draw(self.form.fields(advanced=False))
            self.quality = gr.Radio(QUALITIES, value=PRESETS[0].name, label="How thorough", elem_classes="segmented")
        with gr.Accordion("Advanced", open=False, elem_classes="advanced"):
            self.form.draw(self.form.fields(advanced=True))
        with gr.Column(elem_classes="deeds"):
            self.expectation = gr.HTML(
                {"text": "", "known": ""},
                html_template='<p class="expectation" data-known="{{value.known}}">{{value.text}}</p>',
            )
            self.go = gr.Button("Start the training", variant="primary", elem_classes="go")
            self.note = gr.HTML(said(""), html_template='<p class="note" role="alert">{{value.text}}</p>')

    def _wire(self) -> None:
        form = self.form.inputs
        outputs = [self.quality, self.pictures, self.expectation, self.note]
        everything = [*form, *outputs]
        apart = (self.desk.picker, self.form.controls["method"])
        own = [each for each in form if each not in apart and "on-shelf" not in each.elem_classes]
        changes = [each.change if isinstance(each, gr.Textbox) else each.input for each in own]  # type: ignore[attr-defined]
        gr.on(changes, self.settled, [self.note, self.expectation, *form], outputs, **LATEST)
        for each in (self.quality, self.form.controls["method"]):  # another way takes other steps for the same
            each.input(self.quality_picked, [self.quality, *form], everything, **LATEST)  # type: ignore[attr-defined]
        self.desk.picker.input(self.settled, [self.note, self.expectation, *form], outputs, **LATEST)
        many: dict[str, Any] = {"trigger_mode": "multiple", **QUIET}
        self.pictures.brought(self.brought, form, outputs, **many)
        self.pictures.removed(self.removed, form, outputs, **many)
        self.pictures.look(self.returned, self.desk.picker, everything, **QUIET)
        self.go.click(self.started, form, self.note, **many)
        self.sheet.settled(self.settled, [self.note, self.expectation, *form], outputs, **LATEST)
        self.classroom.wire(self.sheet)

    def returned(self, who: gr.Request, model: str | None) -> list[Any]:
        """The tab is looked at for the first time: its settings and pictures as they were, the model as it is."""
        request: Request = self.desk.recall(Personalize, who, PLACE) or Personalize()
        request = changed(request, {"model": model} if model else {})
        return [*self.form.show(request), *self._summary(request, who, said(""))]

    def settled(self, who: gr.Request, note: Any, expectation: Any, *values: Any) -> list[Any]:
        """Something was changed. An error that is mended goes. Nothing before the settings of last time are here."""
        if not (isinstance(expectation, dict) and expectation.get("known")):
            return [gr.skip()] * 4
        return self._kept(values, who, note)

    def quality_picked(self, who: gr.Request, name: str, *values: Any) -> list[Any]:
        """Quick, Good or Thorough was chosen, or another way to personalize."""
        try:
            before = self._read(values, who)
            request = changed(before, qualities_of(before).get(name, {}))
        except StudioError as error:
            return [*[gr.skip()] * len(self.form.controls), *self._refused(error)]
        self.desk.remember(request, who, PLACE)
        return [*self.form.show(request, before), *self._summary(request, who, said(""))]

    def brought(self, who: gr.Request, event: gr.EventData, *values: Any) -> list[Any]:
        """Pictures came."""
        try:
            left_out = self.tray.bring(owner_of(who, self.desk.shared), event._data or {})
        except StudioError as error:
            return self._refused(error)
        return self._kept(values, who, left_out=left_out)

    def removed(self, who: gr.Request, event: gr.EventData, *values: Any) -> list[Any]:
        """A picture was taken away, or all of them."""
        self.tray.remove(owner_of(who, self.desk.shared), str((event._data or {}).get("name") or "")[:32])
        return self._kept(values, who)

    def started(self, who: gr.Request, *values: Any) -> dict[str, Any]:
        """Start was pressed: the note."""
        request = None
        try:
            request = self._read(values, who)
            self.desk.runner.expect(request, owner_of(who, self.desk.shared))  # what cannot be begun is said here
            self.desk.submit(request, who)
        except StudioError as error:
            return said(str(error), "error", request.to_json() if request else "")
        self.desk.remember(request, who, PLACE)
        return said("")

    def _read(self, values: Sequence[Any], who: gr.Request) -> Request:
        names = self.tray.names(owner_of(who, self.desk.shared))
        return changed(self.form.read(values), {"pictures": names})

    def _kept(
        self, values: Sequence[Any], who: gr.Request, note: Any = None, left_out: Sequence[str] = ()
    ) -> list[Any]:
        """What follows from a change; the `note` before it stays where it still holds, none does if not given."""
        try:
            request = self._read(values, who)
        except StudioError as error:
            model = str(values[list(self.form.controls).index("model")])
            quality, _, expectation, refusal = self._refused(error)
            return [quality, self._tray(model, who, left_out), expectation, refusal]
        self.desk.remember(request, who, PLACE)
        return self._summary(request, who, said("") if note is None else mended(note, request), left_out)

    def _refused(self, error: StudioError) -> list[Any]:
        return [gr.skip(), gr.skip(), gr.skip(), said(str(error), "error")]

    def _summary(self, request: Request, who: gr.Request, note: Any, left_out: Sequence[str] = ()) -> list[Any]:
        held = request.model_dump()
        name = next((each for each, values in qualities_of(request).items() if values.items() <= held.items()), CUSTOM)
        shown = self._tray(str(held["model"]), who, left_out)
        return [picked(name, QUALITIES), shown, self._expected(request, who), note]

    def _tray(self, model: str, who: gr.Request, left_out: Sequence[str]) -> dict[str, Any]:
        spec = spec_of(model)
        return self.tray.shown(owner_of(who, self.desk.shared), spec.side if spec else SIDE, left_out)

    def _expected(self, request: Request, who: gr.Request) -> dict[str, Any]:
        try:
            return expected(self.desk.runner.expect(request, owner_of(who, self.desk.shared)))
        except StudioError as error:
            return {"text": str(error), "known": "yes"}


def qualities_of(request: Request) -> dict[str, dict[str, Any]]:
    """What each quality sets for the way to personalize that a request names."""
    method = request.method.name  # type: ignore[attr-defined]
    return {preset.name: preset.values for preset in presets_of(method)}
