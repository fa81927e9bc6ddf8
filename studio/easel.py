"""A tab that is a form on the left and a viewer on the right, for what paints; with a board, a canvas and a viewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from pipelines.errors import StudioError
from pipelines.tasks import Task
from studio.answers import Answers, spec_of
from studio.board import Board
from studio.desk import Desk
from studio.form import QUIET, Form
from studio.modes import Modes
from studio.phrases import said
from studio.presets import USUAL, qualities, shapes
from studio.sending import Filler, Target
from studio.uploads import picture_in, read_once
from studio.viewer import Watch, viewer

LATEST: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
FIRST = ("prompt", "last", "shown", "left", "top", "right", "bottom", "shape")  # what is drawn above the rest


class Easel:
    """Form, presets, Generate and Stop, viewer; wired to each other and to the runner."""

    def __init__(
        self,
        desk: Desk,
        place: str,
        tasks: Sequence[Task],
        examples: Sequence[str] = (),
        board: Board | None = None,
        prefix: str = "",
        invite: str = "",
    ) -> None:
        self.desk, self.place, self.board, self.examples = desk, place, board, list(examples)
        given = {"model": desk.picker}
        self.at_once = not (board or prefix)  # the first tab; news that come before a tab is opened cost it its props
        self.invite = invite  # what the empty stage says, where it is not that a sentence becomes a picture
        self.form: Form | Modes = Form(tasks[0].request, given, prefix) if len(tasks) == 1 else Modes(tasks, given)
        self.watch = Watch(desk.runner, desk.library, desk.shared, [task.name for task in tasks])
        self.answers = Answers(desk, place, self.form, board)

    def draw(self) -> None:
        """Draw and wire the tab, in the Blocks that are being built."""
        with gr.Row(elem_classes=["desk", "with-board"] if self.board else "desk", equal_height=False):
            with gr.Column(elem_classes="rail", min_width=320, scale=0):
                self._draw_rail()
            with gr.Column(elem_classes="easel", min_width=320, scale=1):
                if self.board:
                    self.board.draw()
                compares = bool(self.board and self.board.compares)
                goes_on = bool(self.board and self.board.goes_on)
                self.stage = viewer(self.place, self.examples, bool(self.board), compares, goes_on)
                self.stage.props |= {"invite": self.invite, "asks": not self.at_once}
        for kind in reversed(self.form.requests):
            self.form.fill(self.answers.first(kind))
        self._wire()

    def _draw_rail(self) -> None:
        spec = spec_of(str(self.desk.picker.value))
        with gr.Column(elem_classes="card"):
            if isinstance(self.form, Modes):
                self.form.draw_switch()
            self.form.draw(name for name in self.form.fields(advanced=False) if name in FIRST)
            self._draw_quality()
            self.shape = gr.Radio(
                list(shapes(spec)) if spec else ["Square"],
                value="Square",
                label="Shape",
                elem_classes="segmented",
                visible=any("width" in each.model_fields for each in self.form.requests),
            )
            self.form.draw(self.form.fields(advanced=False))
        with gr.Accordion("Advanced", open=False, elem_classes="advanced"):
            self.form.draw(self.form.fields(advanced=True))
        if isinstance(self.form, Modes):
            self.form.connect()
        self._draw_deeds()

    def _draw_quality(self) -> None:
        spec = spec_of(str(self.desk.picker.value))
        names = list(qualities(spec)) if spec else [USUAL]
        self.quality = gr.Radio(names, value=USUAL, label="Quality", elem_classes="segmented")

    def _draw_deeds(self) -> None:
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
        form, answers = self.form.inputs, self.answers
        outputs = self._outputs()
        everything = [*form, *outputs]
        own = [each for each in form if each is not self.desk.picker and "on-shelf" not in each.elem_classes]
        # A Textbox says "input" on key presses only: neither on paste nor on a phone.
        changes = [each.change if isinstance(each, gr.Textbox) else each.input for each in own]  # type: ignore[attr-defined]
        gr.on(changes, answers.settled, [self.note, self.expectation, *form], outputs, **LATEST)
        self.quality.input(answers.quality_picked, [self.quality, *form], everything, **LATEST)
        self.shape.input(answers.shape_picked, [self.shape, *form], everything, **LATEST)
        self.desk.picker.input(answers.model_picked, [self.quality, self.shape, *form], everything, **LATEST)
        for control in form:
            if hasattr(control, "brought"):
                self._wire_reference(control, control.brought)
        self.stop.click(None, None, None, js="() => window.dispatchEvent(new Event('palimpsest:stop'))")
        self.stage.settled(answers.settled, [self.note, self.expectation, *form], outputs, **LATEST)
        self.stage.reuse(answers.reused, None, everything, **LATEST)
        self.stage.dropped(answers.restored, None, everything, **LATEST)
        self.stage.example(answers.example, form, everything, **LATEST)
        self.desk.blocks.load(answers.returned, None, everything, **QUIET)
        self.watch.attach(self.desk.blocks, self.stage, self.desk.gauge, self.stop, at_once=self.at_once)
        self.desk.senders.append(self.stage)
        kinds = tuple(str(each.model_fields["task"].default) for each in self.form.requests)
        self.desk.fillers[self.place] = Filler(kinds, everything, answers.reused)
        if self.board:
            self._wire_board(self.board, everything)
        else:
            self.go.click(answers.painted, form, self.note, trigger_mode="multiple", **QUIET)

    def _wire_reference(self, name: Any, button: gr.UploadButton) -> None:
        """Have a button put a picture on the shelf of whoever brings it, for a knob that names one."""
        label = str(button.label).removesuffix(": choose")

        def bring(file: str, who: gr.Request) -> list[Any]:
            try:
                picture, note = read_once(file, picture_in)
                kept = self.desk.shelf(who).put(picture)
            except StudioError as error:
                return [gr.skip(), gr.skip(), said(str(error), "error")]
            chosen = f"{label}: {picture.width} x {picture.height} chosen, choose another"
            return [kept, gr.update(label=chosen, value=None), said(note)]

        button.upload(bring, button, [name, button, self.note], **QUIET)
        name.change(self.answers.settled, [self.note, self.expectation, *self.form.inputs], self._outputs(), **LATEST)

    def _outputs(self) -> list[Any]:
        """What an answer that leaves the controls alone sets."""
        return [self.quality, self.shape, self.expectation, self.note, *([self.board.sheet] if self.board else [])]

    def _wire_board(self, board: Board, everything: list[Any]) -> None:
        form, sheet, answers = self.form.inputs, board.sheet, self.answers
        for name in board.hears:
            getattr(sheet, name)(answers.heard(getattr(board, name)), form, everything, **LATEST)
        # What is drawn reaches the server before the work begins: the canvas sends it, and then says so.
        self.go.click(None, None, None, js="() => window.dispatchEvent(new Event('palimpsest:generate'))")
        sheet.generate(answers.painted_drawn, form, self.note, trigger_mode="multiple", **QUIET)
        self.desk.targets[self.place] = Target(self.place, everything, answers.sent)
