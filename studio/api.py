"""The API: one named endpoint for each registered task, with the fields of its request as typed parameters."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.data_classes import FileData
from pydantic.fields import FieldInfo

from pipelines.errors import StudioError
from pipelines.events import Done, Failed, Finished
from pipelines.job import Job
from pipelines.method import Choice
from pipelines.models import models
from pipelines.request import Request, validated
from pipelines.tasks import Task, parse, tasks
from studio.controls import choice_of, is_many
from studio.desk import Desk
from studio.form import QUIET
from studio.uploads import picture_in, read_once, recipe_in
from studio.views import moment

if TYPE_CHECKING:
    from pipelines.memory import Memory

PAUSE = 0.05  # seconds between two looks at a job
SILENT = ("preview", "beat", "since", "more", "width", "height")  # of a moment: for the page only


def publish(desk: Desk) -> None:
    """Adds the endpoints to the Blocks that are being built."""
    for task in tasks.values():
        added = gr.api(
            endpoint(task, desk), api_name=task.name, concurrency_limit=None, api_description=described(task)
        )
        for output, name in zip(desk.blocks.fns[added["id"]].outputs, ("files", "request", "progress"), strict=True):
            output.label = name
    gr.api(listed_models, api_name="models", queue=False)
    gr.api(freeing(desk), api_name="free", concurrency_limit=None)
    picture, recipe, read = (
        gr.File(visible=False, label="picture"),
        gr.JSON(visible=False, label="request"),
        gr.Button(visible=False),
    )
    read.click(restore, picture, recipe, **{**QUIET, "api_visibility": "public"}, api_name="restore")
    source, name, keep = (
        gr.File(visible=False, label="picture"),
        gr.JSON(visible=False, label="kept"),
        gr.Button(visible=False),
    )
    keep.click(keeping(desk), source, name, **{**QUIET, "api_visibility": "public"}, api_name="keep_picture")


def endpoint(task: Task, desk: Desk) -> Callable[..., AsyncIterator[Any]]:
    """The function behind one task's endpoint: it yields (files, request, progress) until the job has ended."""
    fields = dict(sorted(parameters(task.request).items(), key=lambda each: each[0] != "prompt"))

    async def call(who: gr.Request, *values: Any) -> AsyncIterator[Any]:
        with sentences():
            request = validated(task.request, dict(zip(fields, values, strict=True)))
            job = desk.submit(request, who)
        try:
            async for report in reports(job, desk):
                yield report
        finally:
            desk.runner.stop(job)  # the client went away or cancelled; a job that has ended does not mind

    call.__name__, call.__doc__ = task.name, described(task)
    call.__signature__ = signature(fields)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in signature(fields).parameters.values()}
    return call


def parameters(request: type[Request]) -> dict[str, FieldInfo]:
    """The fields of a request that a client names; the task is the endpoint."""
    return {name: field for name, field in request.model_fields.items() if name != "task"}


def signature(fields: dict[str, FieldInfo]) -> inspect.Signature:
    """Named, typed parameters with defaults, as Gradio reads them."""
    plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
    who = inspect.Parameter("who", plain, annotation=gr.Request)
    named = [
        inspect.Parameter(name, plain, annotation=typed(each), default=default(each)) for name, each in fields.items()
    ]
    return inspect.Signature([who, *named], return_annotation=tuple[list[dict], dict, dict])  # type: ignore[type-arg]


def typed(field: FieldInfo) -> Any:
    """The type of a field as a client gives it: a method is its name, or name and knobs."""
    if is_many(field):
        return list
    return str | dict if choice_of(field) is not None else field.annotation


def default(field: FieldInfo) -> Any:
    """The default of a field as plain values."""

    def plain(value: Any) -> Any:
        if isinstance(value, Choice):
            return value.model_dump(mode="json") if value.knobs else value.name
        return [plain(each) for each in value] if isinstance(value, tuple) else value

    return plain(field.default)


async def reports(job: Job, desk: Desk) -> AsyncIterator[tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]]:
    """What an endpoint says of its job, whenever there is something new; the last names every file."""
    said, begun = -1, time.monotonic()
    while True:
        ended, number = job.ending is not None, job.said  # in this order: the last words are never missed
        if number != said:
            said = number
            progress = {name: value for name, value in moment([job], desk.runner).items() if name not in SILENT}
            yield (
                files(job),
                job.request.model_dump(mode="json"),
                {**progress, "seconds": round(time.monotonic() - begun, 3)},
            )
        if ended:
            break
        await asyncio.sleep(PAUSE)
    if isinstance(job.ending, Failed):
        raise gr.Error(job.ending.text, print_exception=False)
    if not isinstance(job.ending, Done):
        raise gr.Error("The job was stopped.", print_exception=False)


def files(job: Job) -> list[dict[str, Any]]:
    """The pictures of a job so far, as files that a client fetches."""
    made = [event.painted.file for event in job.latest() if isinstance(event, Finished) and event.painted.file]
    return [FileData(path=path, orig_name=Path(path).name, mime_type="image/png").model_dump() for path in made]


def restore(picture: str) -> dict[str, Any]:
    """The request that a picture of ours carries."""
    with sentences():
        return parse(recipe_in(picture or "")).model_dump(mode="json")


def keeping(desk: Desk) -> Callable[..., dict[str, Any]]:
    """The function behind /keep_picture."""

    def keep_picture(picture: str, who: gr.Request) -> dict[str, Any]:
        """Keep a picture, so that requests can name it as their source or mask; its name, its size, and a note."""
        with sentences():
            opened, note = read_once(picture or "", picture_in)
            name = desk.shelf(who).put(opened)
        return {"name": name, "width": opened.width, "height": opened.height, "note": note}

    return keep_picture


def listed_models() -> list[dict]:  # type: ignore[type-arg]
    """The models that can be named in a request."""
    return [
        {"name": name, "title": each.title, "summary": each.summary, "side": each.side} for name, each in models.items()
    ]


def freeing(desk: Desk) -> Callable[[], Any]:
    """The function behind /free."""

    async def free() -> int:
        """Let go of every network that no job uses; the bytes of weights that were let go."""
        if desk.shared:
            raise gr.Error("On a shared studio only its host may empty the memory.", print_exception=False)
        if desk.runner.memory is None:
            return 0
        loop = asyncio.get_running_loop()
        freed: asyncio.Future[int] = loop.create_future()

        def work(memory: Memory) -> None:
            loop.call_soon_threadsafe(freed.set_result, memory.free())

        desk.runner.chore(work)
        return await freed

    return free


def described(task: Task) -> str:
    """What an endpoint does, and each parameter, in the words of the page."""
    lines = [f"    {name}: {field.description or ''}" for name, field in parameters(task.request).items()]
    return "\n".join([task.summary(), "", "Parameters:", *lines])


@contextmanager
def sentences() -> Iterator[None]:
    """Errors for a person reach a client as their sentence; all others stay bugs."""
    try:
        yield
    except StudioError as error:
        raise gr.Error(str(error), print_exception=False) from None
