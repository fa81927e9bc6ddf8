"""What a job says while it runs: stages and progress, and exactly one ending."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from PIL.Image import Image

from pipelines.request import Request

R = TypeVar("R", bound=Request, covariant=True)


@dataclass(frozen=True)
class Painted(Generic[R]):
    """One finished picture and the request that paints exactly it: its own seed, count 1.

    The picture is here until it is kept in `file`; from then on it is there. `figures` are what was measured while it
    was painted, by name, where somebody wanted to know. Where it moves, `frames` follow the picture, each of them shown
    for `pause` milliseconds.
    """

    picture: Image | None
    request: R
    file: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    frames: tuple[Image, ...] = ()
    pause: int = 0


@dataclass(frozen=True)
class Result(Generic[R]):
    """What a task returns: its pictures, in order, and remarks a person should read."""

    pictures: tuple[Painted[R], ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Event:
    """Something a job has to say."""


@dataclass(frozen=True)
class Stage(Event):
    """The job entered a part of its work that cannot be counted, such as loading or decoding."""

    text: str


@dataclass(frozen=True)
class Progress(Event):
    """Step `step` of `steps` is done, of picture `picture` of `pictures` (all from 1), and how it looks by now.

    `points` (x, y) in pixels of the source are where what is pulled has come to, where the task knows.
    """

    step: int
    steps: int
    picture: int = 1
    pictures: int = 1
    preview: Image | None = None
    seconds_left: float | None = None
    points: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Lesson(Progress):
    """Step `step` of `steps` of teaching is done. `losses` are pairs (step, mean loss of the steps up to it), rising,
    a few hundred at the most; `preview` is none, see `Proof`."""

    losses: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Proof(Event):
    """What a fixed prompt and seed paint after `step` steps of teaching, with what is learned by then at `weight`.

    Weight 0 is the model as it was. Where `loaded`, the finished file was loaded afresh for it.
    """

    step: int
    prompt: str
    picture: Image
    weight: float = 1.0
    loaded: bool = False


@dataclass(frozen=True)
class Taught(Event):
    """An adapter is ready and in the registry: its name, which is its word, and how many steps it was taught."""

    name: str
    steps: int
    losses: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Finished(Event):
    """One picture of the job is ready, before the others are."""

    painted: Painted[Request]


@dataclass(frozen=True)
class Remark(Event):
    """Something the person should know that did not end the job."""

    text: str


@dataclass(frozen=True)
class Ending(Event):
    """The last event of a job."""


@dataclass(frozen=True)
class Done(Ending):
    """All pictures are ready, `seconds` after the work began."""

    result: Result[Request]
    seconds: float = 0.0


@dataclass(frozen=True)
class Cancelled(Ending):
    """Somebody stopped the job."""


@dataclass(frozen=True)
class Failed(Ending):
    """The job could not go on; `text` is a sentence for the person."""

    text: str
