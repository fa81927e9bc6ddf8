"""By what a picture was painted: the version of the studio, the weights, the libraries and the device."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipelines import __version__
from pipelines.adapters import chosen, worn
from pipelines.errors import StudioError
from pipelines.models import models
from pipelines.models.adapters import adapters
from pipelines.parts import Part

if TYPE_CHECKING:
    from pipelines.memory import Memory
    from pipelines.models import ModelSpec
    from pipelines.request import Request

WORDS = {  # what a person calls each entry
    "studio": "the version of Palimpsest",
    "torch": "the version of torch",
    "diffusers": "the version of diffusers",
    "device": "the device",
    "weights": "the weights of the model",
    "adapters": "the weights of an adapter",
    "numbers": "the type of number",
}


def origin_of(request: Request, memory: Memory) -> dict[str, Any]:
    """What the same request needs to paint the same pixels; plain values. Part names lead to content keys."""
    import diffusers
    import torch

    spec, put_on = _worn(request)
    parts = dict(_parts(spec)) if spec is not None else {}
    return {
        "studio": __version__,
        "torch": str(torch.__version__),
        "diffusers": diffusers.__version__,
        "device": _device(memory),
        "weights": {name: part.key for name, part in parts.items()},
        "numbers": {name: str(memory.number_type(part)).removeprefix("torch.") for name, part in parts.items()},
        **({"adapters": put_on} if put_on else {}),
    }


def _worn(request: Any) -> tuple[ModelSpec | None, dict[str, str]]:
    """The checkpoint of a request, with the autoencoder it names, and the content key of each adapter on it. Whatever
    was deleted while it was painted is not known any more."""
    spec = models.get(getattr(request, "model", ""))
    if spec is None or not hasattr(request, "adapters"):
        return spec, {}
    try:
        spec = chosen(request)
        return spec, {name: adapters[name].part.key for name in worn(request, spec)}
    except StudioError:
        return spec, {}


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """A sentence for each thing that is another now than when a picture was painted."""
    return [
        f"{words[:1].upper()}{words[1:]} changed: {_short(before[name])} then, {_short(now.get(name))} now."
        for name, words in WORDS.items()
        if name in before and before[name] != now.get(name)
    ]


def _parts(spec: Any) -> Iterator[tuple[str, Part]]:
    for each in dataclasses.fields(spec):
        value = getattr(spec, each.name)
        if isinstance(value, Part):
            yield each.name, value
        elif isinstance(value, tuple):
            yield from ((f"{each.name} {k}", part) for k, part in enumerate(value, 1) if isinstance(part, Part))


def _device(memory: Memory) -> str:
    """The card by its name; a processor by the instructions that its kernels use."""
    import torch

    module = torch.get_device_module(memory.device.torch)
    if hasattr(module, "get_device_name"):
        return str(module.get_device_name(memory.device.torch))
    return f"{memory.device.kind} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _short(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)[:80]
    return ", ".join(f"{name} {str(each)[:12]}" for name, each in value.items())[:200] or "unknown"
