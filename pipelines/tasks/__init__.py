"""Tasks turn a request into pictures: one generator each, found by the request's `task`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import BadRequest
from pipelines.events import Event, Remark, Result
from pipelines.registry import Registry, discover
from pipelines.request import Request, validated

if TYPE_CHECKING:
    from pipelines.memory import Memory
    from pipelines.shelf import Shelf

__all__ = ["Running", "Task", "parse", "run", "task", "tasks"]

Running = Generator[Event, None, Result[Any]]
Steps = Callable[[Any, "Memory", "Shelf"], Running]


@dataclass(frozen=True)
class Task:
    """A request type and the generator that fulfils it. `summary` is the first sentence of the request's docstring."""

    name: str
    request: type[Request]
    steps: Callable[[Any, Memory, Shelf], Running]
    gradients: bool = False
    keeps_best: bool = False  # it catches Stopped, and finishes a picture of what is there
    makes_way: bool = False  # it can be left at any event and goes on where it was: others need not wait for it

    def summary(self) -> str:
        """What the task does, in one sentence."""
        return (self.request.__doc__ or "").strip().split("\n")[0]


tasks: Registry[Task] = Registry("task")


def task(
    request: type[Request], gradients: bool = False, keeps_best: bool = False, makes_way: bool = False
) -> Callable[[Steps], Steps]:
    """Registers a generator function as the fulfilment of `request`. With `gradients`, it may differentiate."""
    name = str(request.model_fields["task"].default)

    def keep(steps: Steps) -> Steps:
        tasks.add(name, Task(name, request, steps, gradients, keeps_best, makes_way))
        return steps

    return keep


def run(request: Request, memory: Memory, shelf: Shelf | None = None) -> Running:
    """Fulfil `request`, whose seed is drawn here if it has none. Yields events, returns the result."""
    from pipelines.shelf import NoShelf

    found, shelf, drawn = tasks[request.task], shelf or NoShelf(), request.with_seed()
    return _without_gradients(_fitted_in(found.steps(drawn, memory, shelf), drawn, memory, shelf), found.gradients)


def _fitted_in(running: Running, request: Request, memory: Memory, shelf: Shelf) -> Running:
    """The same steps, with room made for all that they will lend; how it was made is said in remarks."""
    from pipelines.needs import work_of

    with closing(running), memory.working(work_of(request, memory, shelf)):
        while True:
            try:
                event = next(running)
            except StopIteration as end:
                yield from map(Remark, memory.remarks())
                return end.value  # type: ignore[no-any-return]
            yield from map(Remark, memory.remarks())
            yield event


def _without_gradients(running: Running, gradients: bool) -> Running:
    """Steps a generator outside of autograd; the mode never leaks to whoever consumes the events.

    Inference mode around a `yield` would hold in the consumer too, so it is entered for each step.
    """
    import torch

    mode = torch.no_grad if gradients else torch.inference_mode
    try:
        while True:
            with mode():
                try:
                    event = next(running)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]
            yield event
    finally:
        running.close()


def parse(values: Mapping[str, Any]) -> Request:
    """A request from plain values, such as JSON. Raises BadRequest or UnknownName with a sentence."""
    if not isinstance(values, Mapping) or not isinstance(values.get("task"), str):
        raise BadRequest("A request is a JSON object whose field task names what to do.")
    return validated(tasks[values["task"]].request, dict(values))  # type: ignore[no-any-return]


discover(__name__, list(__path__))
