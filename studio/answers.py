"""What a tab answers to each event of its form: a value for every control, for the presets, and for the canvas if any.

It draws nothing. Whatever happens becomes a request, and the page shows that request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from pipelines.adapters import chosen
from pipelines.errors import StudioError
from pipelines.models import ModelSpec, models
from pipelines.painting import Sampled
from pipelines.request import Request
from pipelines.shelf import FolderShelf
from pipelines.tasks import parse
from pipelines.vocabulary import warning
from studio.board import Board, Changes
from studio.desk import Desk
from studio.form import Form
from studio.modes import Modes
from studio.phrases import expected, mended, said
from studio.presets import CUSTOM, at_quality, changed, fitted, qualities, quality_of, shape_of, shaped, shapes
from studio.security import owner_of
from studio.uploads import reading_in

Said = dict[str, Any]
Alter = Callable[[FolderShelf, Request], tuple[Changes, str]]


class Answers:
    """The answers of one tab. Each is a list: the form's controls, quality, shape, expectation, note and canvas."""

    def __init__(self, desk: Desk, place: str, form: Form | Modes, board: Board | None) -> None:
        self.desk, self.place, self.form, self.board = desk, place, form, board

    def returned(self, who: gr.Request) -> list[Any]:
        """A page comes: its settings as they were, or as the first model likes them."""
        request, others = self._kept(who)
        values = self._showing(request, who)
        for other in others:  # a mode that is not chosen fills the controls that only it has
            for k, value in enumerate(self.form.show(other)):
                if is_skip(values[k]) and self.form.inputs[k] is not getattr(self.form, "switch", None):
                    values[k] = value
        return values

    def first(self, kind: type[Request]) -> Request:
        """What the form holds before anybody has touched it: what the first model likes."""
        request: Request = kind.model_validate({})
        spec = spec_of(str(self.desk.picker.value))
        return fitted(request, spec) if spec else request

    def settled(self, who: gr.Request, note: Any, expectation: Any, *values: Any) -> list[Any]:
        """Something was changed: what it will cost, and which presets it is. An error that is mended goes. Not the
        form's controls; and nothing before the settings of last time are in them."""
        if not (isinstance(expectation, dict) and expectation.get("known")):
            return [gr.skip() for _ in self._refused("")[len(values) :]]
        try:
            read = self.form.read(values)
            request = changed(read, self.desk.pictures(type(read), who, self.place))
        except StudioError as error:
            return self._refused(str(error))[len(values) :]
        self.desk.remember(request, who, self.place)
        return self._summary(request, who, mended(note, request))

    def quality_picked(self, who: gr.Request, name: str, *values: Any) -> list[Any]:
        """A quality was chosen."""
        return self._picked(values, lambda request, spec: at_quality(request, spec, name), who)

    def shape_picked(self, who: gr.Request, name: str, *values: Any) -> list[Any]:
        """A shape was chosen."""
        return self._picked(values, lambda request, spec: shaped(request, spec, name), who)

    def model_picked(self, who: gr.Request, quality: str, shape: str, *values: Any) -> list[Any]:
        """A model was chosen in the header."""
        return self._picked(values, lambda request, spec: fitted(request, spec, quality, shape), who)

    def heard(self, answer: Callable[[Said, FolderShelf, Request], tuple[Changes, str]]) -> Callable[..., list[Any]]:
        """The answer to an event of the canvas: what it changes of the request, and the page that follows."""

        def respond(who: gr.Request, event: gr.EventData, *values: Any) -> list[Any]:
            words: Said = event._data or {}
            try:
                before = self.form.read(values)
                return self._altered(before, lambda shelf, request: answer(words, shelf, request), who, words)
            except StudioError as error:
                return self._refused(str(error))

        return respond

    def sent(self, picture: Callable[[], Any], who: gr.Request) -> list[Any]:
        """A picture was sent here from a result."""
        try:
            before, _ = self._kept(who)
            return self._altered(before, lambda shelf, _: (self._taken(shelf.put(picture())), ""), who)
        except StudioError as error:
            return self._refused(str(error))

    def painted(self, who: gr.Request, *values: Any) -> Said:
        """Generate was pressed: the note."""
        return self._submitted(values, {}, who)

    def painted_drawn(self, who: gr.Request, event: gr.EventData, *values: Any) -> Said:
        """Generate was pressed beside a canvas, which names what it shows: the note."""
        words: Said = event._data or {}
        return self._submitted(values, self.board.named(words) if self.board else {}, who)

    def example(self, who: gr.Request, event: gr.EventData, *values: Any) -> list[Any]:
        """An example was pressed: it is written into the prompt, and painted."""
        prompt = str(event._data.get("prompt", ""))[:200]
        paths = list(self.form.controls)
        note = self.painted(
            who, *(prompt if path == "prompt" else value for path, value in zip(paths, values, strict=True))
        )
        return [*(prompt if path == "prompt" else gr.skip() for path in paths), *[gr.skip()] * 3, note]

    def reused(self, event: gr.EventData, who: gr.Request) -> list[Any]:
        """The settings of a result are wanted again."""
        return self._restored(event._data.get("recipe"), "", who)

    def restored(self, event: gr.EventData, who: gr.Request) -> list[Any]:
        """A picture was dropped whose settings are wanted."""
        try:
            reading = reading_in(str(event._data.get("path", "")))
        except StudioError as error:
            return self._refused(str(error))
        source = f" from {str(event._data.get('name', 'the picture'))[:60]}"
        if reading.tool != "Palimpsest":
            source += f", by {reading.tool},"
        return self._restored(reading.request, source, who, reading.left_out)

    def _kept(self, who: gr.Request) -> tuple[Request, list[Request]]:
        """What whoever asks left in this tab, and in its other modes."""
        held = [self.desk.recall(kind, who, self.place) or self.first(kind) for kind in self.form.requests]
        held = [each if spec_of(getattr(each, "model", "")) else self.first(type(each)) for each in held]
        mode = self.desk.recall_mode(self.place, who)
        now = next((each for each in held if each.task == mode), held[0])
        return now, [each for each in held if each is not now]

    def _picked(self, values: Sequence[Any], change: Any, who: gr.Request) -> list[Any]:
        try:
            before = self.form.read(values)
            spec = spec_of(getattr(before, "model", ""))
            after = change(before, spec) if spec else before
        except StudioError as error:
            return self._refused(str(error))
        self.desk.remember(after, who, self.place)
        return self._showing(after, who, before)

    def _altered(self, before: Request, alter: Alter, who: gr.Request, words: Said | None = None) -> list[Any]:
        changes, note = alter(self.desk.shelf(who), before)
        after = changed(before, changes)
        shows = words and "source" not in words and {"stamp", "sides", "arrows", "to"} & words.keys()
        drawn = words if shows else None  # what the canvas has already; a picture that is brought back is new to it
        self.desk.remember(after, who, self.place, meant=drawn is None)
        return self._showing(after, who, before, note, drawn)

    def _submitted(self, values: Sequence[Any], changes: Changes, who: gr.Request) -> Said:
        request = None
        try:
            request = changed(self.form.read(values), changes)
            self.desk.submit(request, who)
        except StudioError as error:
            return said(str(error), "error", request.to_json() if request else "")
        self.desk.remember(request, who, self.place)
        return said("")

    def _restored(self, recipe: Any, source: str, who: gr.Request, left_out: Sequence[str] = ()) -> list[Any]:
        try:
            request = parse(recipe)
            if not isinstance(request, self.form.requests):
                raise StudioError(f"This picture was made by {request.task.replace('_', ' ')}, which has another tab.")
            if request.model not in models:  # type: ignore[attr-defined]
                raise StudioError(f"The settings{source} name the model {request.model[:60]}, which is not here.")  # type: ignore[attr-defined]
        except StudioError as error:
            return self._refused(str(error))
        self.desk.remember(request, who, self.place, meant=True)
        seed = "" if request.seed is None else f", seed {request.seed}. Clear the seed for another picture"
        note = f"Settings{source} are back{seed}."
        if left_out:
            note += f" Not taken over: {'; '.join(left_out)}."
        return self._showing(request, who, note=note)

    def _showing(
        self,
        request: Request,
        who: gr.Request,
        before: Request | None = None,
        note: str = "",
        drawn: Said | None = None,
    ) -> list[Any]:
        return [*self.form.show(request, before), *self._summary(request, who, said(note), drawn)]

    def _refused(self, error: str) -> list[Any]:
        """Everything stays, but for the note; a canvas that waits hears that there is an answer."""
        canvas = [self.board.refused(error)] if self.board else []
        return [*(gr.skip() for _ in self.form.controls), *[gr.skip()] * 3, said(error, "error"), *canvas]

    def _taken(self, name: str) -> Changes:
        return self.board.taken(name) if self.board else {"source": name}

    def _summary(self, request: Request, who: gr.Request, note: Any, drawn: Said | None = None) -> list[Any]:
        """Quality, shape, expectation, note and canvas of what the form holds."""
        spec, canvas = spec_of(getattr(request, "model", "")), []
        if self.board:
            stamp = {name: value for name, value in (drawn or {}).items() if name == "stamp"}
            words = note.get("text", "") if isinstance(note, dict) else ""
            shown = self.board.seen(request, self.desk.shelf(who), self.desk.freshness(who, self.place))
            canvas = [{"note": words, **shown, **stamp}]
        if spec is None:
            return [gr.skip(), gr.skip(), {"text": "No model is installed here.", "known": "yes"}, note, *canvas]
        radios = [
            picked(quality_of(request, spec), list(qualities(spec))),
            picked(shape_of(request, spec), list(shapes(spec))),
        ]
        return [*radios, self._expected(request, who), note, *canvas]

    def _expected(self, request: Request, who: gr.Request) -> Said:
        try:
            known = self.desk.runner.expect(request, owner_of(who, self.desk.shared))
            heeded = (
                self.desk.library.room().warning(),
                warning(request, chosen(request)) if isinstance(request, Sampled) else "",
            )
            return expected(known, " ".join(filter(None, heeded)))
        except StudioError as error:
            return {"text": str(error), "known": "yes"}


def spec_of(name: str) -> ModelSpec | None:
    """A model by its name, or None; it may have gone since somebody chose it."""
    return next((spec for known, spec in models.items() if known == name), None)


def picked(name: str, names: list[str]) -> Any:
    """A segmented control at `name`; Custom is among its segments only while it is chosen."""
    return gr.update(choices=[*names, CUSTOM] if name == CUSTOM else names, value=name)


def is_skip(update: Any) -> bool:
    """Whether an update leaves a control as it is."""
    return isinstance(update, dict) and update.get("__type__") == "update" and len(update) == 1
