"""From a result to a tab that takes a picture: each such tab is a target, each viewer sends to all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component
from PIL import Image

from pipelines.errors import StudioError
from studio.form import QUIET
from studio.security import owner_of

if TYPE_CHECKING:
    from studio.desk import Desk


@dataclass(frozen=True)
class Target:
    """A tab that takes a picture: the name on its tab, what changes there, and how; `take` raises nothing."""

    name: str
    outputs: list[Component]
    take: Callable[[Callable[[], Image.Image], gr.Request], list[Any]]


@dataclass(frozen=True)
class Filler:
    """A tab with a form: the tasks it holds, what changes there when settings come back, and how."""

    tasks: tuple[str, ...]
    outputs: list[Component]
    reused: Callable[[gr.EventData, gr.Request], list[Any]]


def connect(desk: Desk) -> None:
    """Once all tabs are drawn: have every viewer send to every target, and settings go back to every form."""
    outputs = [each for target in desk.targets.values() for each in target.outputs]
    for stage in desk.senders:
        stage.props["targets"] = list(desk.targets)
        if outputs:
            stage.send(sending(desk), None, outputs, trigger_mode="multiple", **QUIET)
    forms = [each for filler in desk.fillers.values() for each in filler.outputs]
    for sheet in desk.refillers:
        sheet.props["places"] = {task: place for place, filler in desk.fillers.items() for task in filler.tasks}
        if forms:
            sheet.reuse(reusing(desk), None, forms, trigger_mode="multiple", **QUIET)


def sending(desk: Desk) -> Callable[..., list[Any]]:
    """The event of a viewer that sends: it names the target and the picture."""

    def send(who: gr.Request, event: gr.EventData) -> list[Any]:
        updates: list[Any] = []
        for name, target in desk.targets.items():
            here = name == event._data.get("to")
            taken = target.take(lambda: result(desk, event._data, who), who) if here else []
            updates += taken or [gr.skip() for _ in target.outputs]
        return updates

    return send


def result(desk: Desk, said: dict[str, Any], who: gr.Request) -> Image.Image:
    """The picture of the library that is named, if it belongs to who asks. Raises StudioError."""
    from pipelines.pictures import opened

    kept = desk.library.album.get(owner_of(who, desk.shared), str(said.get("id")))
    if kept is None:
        raise StudioError("This picture is no longer here.")
    return opened(kept.file)


def reusing(desk: Desk) -> Callable[..., list[Any]]:
    """The event of the gallery that brings settings back: it names the picture; the tab is the one of its task."""

    def reuse(who: gr.Request, event: gr.EventData) -> list[Any]:
        updates: list[Any] = []
        for name, filler in desk.fillers.items():
            here = name == event._data.get("to")
            updates += filler.reused(event, who) if here else [gr.skip() for _ in filler.outputs]
        return updates

    return reuse
