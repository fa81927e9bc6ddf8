"""Tasks turn a request into pictures: one generator each, found by the request's `task`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import BadRequest
from pipelines.events import Event, Result
from pipelines.registry import Registry, discover
from pipelines.request import Request, validated

if TYPE_CHECKING:
    from pipelines.memory import Memory

__all__ = ["Running", "Task", "parse", "run", "task", "tasks"]

Running = Generator[Event, None, Result[Any]]


@dataclass(frozen=True)
class Task:
    """A request type and the generator that fulfils it. `summary` is the first sentence of the request's docstring."""

    name: str
    request: type[Request]
    steps: Callable[[Any, Memory], Running]
    gradients: bool = False

    def summary(self) -> str:
        """What the task does, in one sentence."""
        return (self.request.__doc__ or "").strip().split("\n")[0]


tasks: Registry[Task] = Registry("task")


def task(
    request: type[Request], gradients: bool = False
) -> Callable[[Callable[[Any, Memory], Running]], Callable[[Any, Memory], Running]]:
    """Registers a generator function as the fulfilment of `request`. With `gradients`, it may differentiate."""
    name = str(request.model_fields["task"].default)

    def keep(steps: Callable[[Any, Memory], Running]) -> Callable[[Any, Memory], Running]:
        tasks.add(name, Task(name, request, steps, gradients))
        return steps

    return keep


def run(request: Request, memory: Memory) -> Running:
    """Fulfil `request`, whose seed is drawn here if it has none. Yields events, returns the result."""
    found = tasks[request.task]
    return _without_gradients(found.steps(request.with_seed(), memory), found.gradients)


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
