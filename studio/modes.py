"""Several request types drawn as one form: a switch chooses between them, and what they share is drawn once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import gradio as gr
from gradio.components import Component

from pipelines.request import Request
from pipelines.tasks import Task
from studio.form import QUIET, Form

SWITCH = "task"


class Modes:
    """A form for one of several tasks, as `Form` is for one. Fields with the same type, limits and default share a
    control; the others are seen in the modes that have them."""

    def __init__(self, tasks: Sequence[Task], given: Mapping[str, Component]) -> None:
        self.tasks = {task.name: task for task in tasks}
        self.forms = {task.name: Form(task.request, given, f"{task.name}-") for task in tasks}
        self.controls: dict[str, Component] = dict(given)
        self._groups: list[tuple[frozenset[str], gr.Column]] = []

    @property
    def inputs(self) -> list[Component]:
        """All controls, in the order that `read` expects their values."""
        return list(self.controls.values())

    @property
    def requests(self) -> tuple[type[Request], ...]:
        """The request types it can hold, the first of them first."""
        return tuple(task.request for task in self.tasks.values())

    def fields(self, advanced: bool) -> list[str]:
        """The names that are not drawn yet, of fields that are advanced or are not."""
        named = [name for form in self.forms.values() for name in form.fields(advanced)]
        return list(dict.fromkeys(named))

    def draw_switch(self) -> None:
        """Draw the control that chooses the mode, with a sentence on what it does."""
        first = next(iter(self.tasks.values()))
        names = [(name.replace("_", " ").capitalize(), name) for name in self.tasks]
        switch = gr.Radio(
            names,
            value=first.name,
            label="What to do",
            info=first.summary(),
            elem_classes="segmented",
            elem_id=f"mode-{first.name}",
        )
        self.controls[SWITCH] = self.switch = switch

    def draw(self, names: Iterable[str]) -> None:
        """Draw fields here, in this order; those that some modes lack in columns that come and go."""
        kinds = [(holders, name) for name in names for holders in self._kinds(name)]
        for holders, some in groupby(kinds, lambda each: each[0]):
            if len(holders) == len(self.forms):
                self._draw(holders, [name for _, name in some])
                continue
            with gr.Column(visible=next(iter(self.forms)) in holders, elem_classes="of-mode") as group:
                self._draw(holders, [name for _, name in some])
            self._groups.append((holders, group))

    def connect(self) -> None:
        """Once all is drawn: have the columns follow the switch."""

        def turn(task: str) -> list[Any]:
            seen = [gr.update(visible=task in holders) for holders, _ in self._groups]
            return [gr.update(info=self.tasks[task].summary()), *seen]

        self.switch.change(turn, self.switch, [self.switch, *(group for _, group in self._groups)], **QUIET)

    def read(self, values: Sequence[Any]) -> Request:
        """The request that the controls of the chosen mode hold. Raises BadRequest naming the field."""
        held = {id(control): value for control, value in zip(self.inputs, values, strict=True)}
        form = self.forms.get(str(held[id(self.switch)])) or next(iter(self.forms.values()))
        return form.read([held[id(control)] for control in form.inputs])

    def show(self, request: Request, before: Request | None = None) -> list[Any]:
        """A value for every control, so that the form holds `request`; what is so already is left as it is."""
        form, same = self.forms[request.task], before is not None and before.task == request.task
        shown = dict(zip(map(id, form.inputs), form.show(request, before if same else None), strict=True))
        if not same:
            shown[id(self.switch)] = request.task
        return [shown.get(id(control), gr.skip()) for control in self.inputs]

    def fill(self, request: Request) -> None:
        """Have the controls begin with `request`, while the page is being built."""
        self.forms[request.task].fill(request)

    def _kinds(self, name: str) -> list[frozenset[str]]:
        """The modes that have a field, by what shares a control."""
        kinds: list[tuple[Any, list[str]]] = []
        for task, form in self.forms.items():
            field = form.request.model_fields.get(name)
            if field is None or name in form.controls:
                continue
            what = (field.annotation, field.default, field.metadata)
            same = next((holders for other, holders in kinds if other == what), None)
            if same is None:
                kinds.append((what, [task]))
            else:
                same.append(task)
        return [frozenset(holders) for _, holders in kinds]

    def _draw(self, holders: frozenset[str], names: list[str]) -> None:
        first, *others = (self.forms[task] for task in self.forms if task in holders)
        for name in names:
            known = set(first.controls)
            first.draw([name])
            added = {path: control for path, control in first.controls.items() if path not in known}
            for other in others:
                other.controls.update(added)
            shared = len(holders) == len(self.forms)
            self.controls.update(
                {path if shared else f"{path} in {min(holders)}": each for path, each in added.items()}
            )
