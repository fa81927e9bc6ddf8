"""The verdict before the first step: whether a training can be done here, and what it will cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.errors import BadCheckpoint, BadRequest, DoesNotFit, StudioError
from pipelines.estimate import Expectation
from pipelines.models import ModelSpec, find, models
from pipelines.painting import DECODE_MAPS
from pipelines.personalizers import personalizers
from pipelines.subjects import square
from pipelines.workshop import refuse_taken

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.memory import Memory, Work
    from pipelines.shelf import Shelf
    from pipelines.tasks.personalize import Personalize

NET_MAPS = 0.25  # feature maps of a picture's size that a plain pass of a painter needs, as in needs.py
SPARE = 64 * 2**20  # bytes of disk that a training leaves free
STATES = 6  # times the weights of an adapter that a training writes: checkpoint, its successor, moments, adapter
TAUGHT_MAPS = 13.0  # times what a plain pass needs: what autograd saves, as for a drag that pulls


def examined(request: Personalize, memory: Memory, shelf: Shelf) -> list[Image]:
    """The pictures, RGB squares of any size. Raises StudioError with what keeps this training from being begun."""
    refuse_taken(request.word)
    if not request.word:
        raise BadRequest("Word: the subject needs a name, such as zorp.")
    spec = find(request.model)
    if spec.whole or spec.inpaints:
        raise BadCheckpoint(f"{spec.title} cannot be taught here; choose another model.")
    if memory.weight(spec.net) > memory.budget:
        raise DoesNotFit(f"{spec.title} does not lie whole in memory here, as teaching it needs. Try a smaller model.")
    if request.captions and len(request.captions) != len(request.pictures):
        raise BadRequest(f"Captions: {len(request.captions)} for {len(request.pictures)} pictures; give one for each.")
    if any("{}" not in each for each in request.captions):
        raise BadRequest("Captions: each needs {} where the subject is named.")
    free, needed = shelf.workshop().room(), SPARE + STATES * adapter_bytes(request, spec)
    if free < needed:
        raise StudioError(f"The disk has {free // 2**20} MB left; a training needs about {needed // 2**20} MB.")
    return opened(request, shelf)


def opened(request: Personalize, shelf: Shelf) -> list[Image]:
    """The pictures that a request names, cut to squares. Raises BadRequest naming the one that cannot be used."""
    if not request.pictures:
        raise BadRequest("Pictures: add at least one of the subject.")
    squares = []
    for k, name in enumerate(request.pictures):
        try:
            squares.append(square(shelf.open(name)))
        except StudioError as error:
            raise BadRequest(f"Pictures: number {k + 1} cannot be used. {error}") from None
    return squares


def expectation(request: Personalize, memory: Memory, shelf: Shelf) -> Expectation:
    """What a training will cost: seconds as this machine took them before, bytes by the network's size.

    Raises StudioError with what keeps it from being begun.
    """
    examined(request, memory, shelf)
    spec = find(request.model)
    pace = memory.ledger.seconds(work_name(spec, memory), spec.side**2)
    maps = int(
        spec.side**2
        * spec.net.width
        * memory.number_type(spec.net).itemsize
        * TAUGHT_MAPS
        * NET_MAPS
        * rows(request, spec)
    )
    needed = 2 * memory.weight(spec.net) + sum(memory.weight(each) for each in (*spec.texts, spec.vae)) + maps
    if pace is None:
        return Expectation(None, needed, "not measured on this machine yet")
    return Expectation(pace * request.steps, needed)


def lent(request: Personalize) -> Work:
    """The parts that a training lends, and the feature maps that a pass of each keeps; none of an unknown model."""
    from pipelines.memory import Work
    from pipelines.pupil import private

    if request.model not in models:
        return Work()  # the task will say what is wrong
    spec = private(models[request.model])
    maps = {part.key: 0.0 for part in spec.texts} | {
        spec.net.key: NET_MAPS * TAUGHT_MAPS * rows(request, spec),
        spec.vae.key: DECODE_MAPS,
    }
    return Work(spec.side**2, maps, gradients=True, parts=spec.parts())


def rows(request: Personalize, spec: ModelSpec) -> int:
    """How many pictures a pass looks at: a step's and one of the prior of a small network, one of a large one."""
    from pipelines.pupil import SMALL

    return request.batch + 1 if spec.net.elements <= SMALL else 1


def work_name(spec: ModelSpec, memory: Memory) -> str:
    """What the ledger calls a step of teaching."""
    return f"teach {spec.name} {memory.device.torch}"


def adapter_bytes(request: Personalize, spec: ModelSpec) -> int:
    """Bytes of an adapter, as its way to personalize says."""
    return request.method.build(personalizers).held(spec.net.elements, spec.net.width)
