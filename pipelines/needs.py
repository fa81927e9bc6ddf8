"""What a request will lend: the work that admission reckons with before the job runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipelines.adapters import chosen, worn
from pipelines.errors import StudioError
from pipelines.estimate import Expectation
from pipelines.models.adapters import adapters
from pipelines.painting import DECODE_MAPS, Sampled, expected

if TYPE_CHECKING:
    from pipelines.memory import Memory, Work
    from pipelines.request import Request
    from pipelines.shelf import Shelf

NET_MAPS = 0.25  # feature maps of a picture's size that a pass of a painter needs: 0.33 GB for SDXL at 1024 px


def keys_of(request: Request) -> frozenset[str]:
    """The keys of the parts that a request will lend; none where it does not say, or is wrong."""
    try:
        return frozenset(part.key for part in chosen(request).parts()) if isinstance(request, Sampled) else frozenset()
    except StudioError:
        return frozenset()


def work_of(request: Request, memory: Memory, shelf: Shelf | None) -> Work:
    """Pixels, parts and what each needs beside its weights; nothing where the request does not say, or is wrong."""
    from pipelines.memory import Work

    if not isinstance(request, Sampled):
        own = getattr(type(request), "work", None)
        return own(request) if own else Work()
    try:
        spec = chosen(request)
        width, height = request.extent(shelf)
        beside = sum(memory.weight(adapters[name].part) for name in worn(request, spec))
    except StudioError:
        return Work()  # the task will say what is wrong
    parts = spec.parts() if spec.preview is None else (*spec.parts(), spec.preview)
    maps = {part.key: 0.0 for part in spec.texts} | {spec.net.key: NET_MAPS * request.held(), spec.vae.key: DECODE_MAPS}
    if spec.preview is not None:
        maps |= {spec.preview.key: 0.0}
        beside += memory.weight(spec.preview)
    return Work(width * height, maps, beside, gradients=request.held() > 1, parts=parts)


def foretold(request: Request, memory: Memory, shelf: Shelf | None) -> Expectation:
    """What a request will cost here, and how it would be fitted in where it does not simply fit. Raises StudioError."""
    own: Any = expected if isinstance(request, Sampled) else getattr(type(request), "expected", None)
    if own is None:
        return Expectation(None, 0, "the studio is warming up")
    known: Expectation = own(request, memory, shelf)
    fitted = memory.foreseen(work_of(request, memory, shelf))
    return replace(known, remark=" · ".join(filter(None, [known.remark, *fitted])))
