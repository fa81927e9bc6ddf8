"""From what another tool wrote to a request of ours: names are looked up, numbers brought within limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipelines.errors import StudioError
from pipelines.models import models
from pipelines.models.adapters import adapters
from pipelines.request import label, validated
from pipelines.samplers import samplers
from pipelines.schedules import schedules
from pipelines.tasks.text_to_image import TextToImage

LONGEST = 200_000  # characters of one chunk that are read
SHOWN = 60  # characters of a value that a person is shown
MENTION = re.compile(r"<(?:lora|lyco|hypernet):([^<>:]{1,200})(?::[^<>]{0,40})?>", re.IGNORECASE)
SAMPLERS = {  # other tools' spellings, letters and digits only
    "eulera": "euler_ancestral", "eulerancestral": "euler_ancestral", "kdpmpp2m": "dpmpp_2m", "dpmpp2m": "dpmpp_2m",
    "dpmppsde": "dpmpp_sde", "dpmppsdegpu": "dpmpp_sde", "dpmpp2msde": "dpmpp_2m_sde", "dpmpp2msdegpu": "dpmpp_2m_sde",
    "dpmpp3msde": "dpmpp_3m_sde", "dpmpp3msdegpu": "dpmpp_3m_sde", "pndm": "pndm", "unipcbh2": "unipc", "kheun": "heun",
    "keuler": "euler", "keulera": "euler_ancestral", "dpmpp2mk": "dpmpp_2m", "plms": "plms", "lms": "lms",
}  # fmt: skip
SCHEDULES = {"normal": "own", "automatic": "own", "uniform": "own", "sgmuniform": "own", "": "own"}


@dataclass
class Found:
    """What a file says, in words of its tool: fields of our request as plain values, and what has no place in it."""

    tool: str
    values: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    sampler: str = ""
    schedule: str = ""
    scale: Any = None
    model: str = ""


@dataclass(frozen=True)
class Reading:
    """A request as plain values, the tool that wrote the file, and a sentence for each thing that did not map."""

    tool: str
    request: dict[str, Any]
    left_out: tuple[str, ...]


def fitted(found: Found) -> Reading:
    """The request that comes nearest. Whatever it does not take is named in words."""
    left_out = list(found.left_out)
    request: dict[str, Any] = {"task": "text_to_image"}
    for name, value in _fields(found, left_out):
        try:
            validated(TextToImage, {**request, name: value})
        except StudioError:
            left_out.append(f"{label(TextToImage, name)}: {shown(value)}")
        else:
            request[name] = value
    return Reading(found.tool, request, tuple(left_out[:40]))


def _fields(found: Found, left_out: list[str]) -> Iterator[tuple[str, Any]]:
    for name, value in found.values.items():
        if name in ("prompt", "negative_prompt"):
            yield name, worded(str(value), left_out)
        elif name in ("width", "height"):
            yield name, side(value, name, left_out)
        elif name == "steps" and is_number(value) and value > 150:
            left_out.append(f"Steps: {shown(value)} became 150")
            yield name, 150
        else:
            yield name, value
    yield from _methods(found, left_out)


def _methods(found: Found, left_out: list[str]) -> Iterator[tuple[str, Any]]:
    sampler, schedule = found.sampler, plain(found.schedule)
    for known in ("karras", "exponential"):  # older versions wrote the schedule behind the sampler
        if not found.schedule and plain(found.sampler).endswith(known):
            schedule, sampler = known, re.sub(known, "", found.sampler, flags=re.IGNORECASE)
    if sampler:
        yield from _named(samplers, "sampler", named(sampler), sampler, left_out)
    if sampler or schedule:
        yield from _named(schedules, "schedule", SCHEDULES.get(schedule, schedule), schedule, left_out)
    if found.scale is not None:
        yield "guidance", {"name": "cfg", "knobs": {"scale": found.scale}}
    if found.model in models:
        yield "model", found.model
    elif found.model:
        left_out.append(f"Model: {shown(found.model)}, which is not here")


def _named(registry: Any, field: str, name: str, said: str, left_out: list[str]) -> Iterator[tuple[str, Any]]:
    if name in registry:
        yield field, name
    else:
        left_out.append(f"{field.capitalize()}: {shown(said)}")


def named(text: str) -> str:
    """A sampler's name as we spell it."""
    bare = plain(text.replace("++", "pp"))
    ours = {plain(name): name for name in samplers}
    return ours.get(bare) or SAMPLERS.get(bare, bare)


def plain(text: str) -> str:
    """Letters and digits, small."""
    return re.sub(r"[^a-z0-9]", "", text[:200].lower())


def worded(text: str, left_out: list[str]) -> str:
    """A prompt without the adapters that are not here, and no longer than ours may be."""
    missing = [name for name in MENTION.findall(text) if name not in adapters]
    for name in dict.fromkeys(missing):
        left_out.append(f"Adapter: {shown(name)}, which is not here")
    kept = MENTION.sub(lambda found: found[0] if found[1] in adapters else "", text).strip()
    if len(kept) > 4000:
        left_out.append(f"The prompt's end, from character 4000 of {len(kept)}")
    return kept[:4000]


def side(value: Any, name: str, left_out: list[str]) -> Any:
    """A width or height within our limits, on our grid."""
    if not is_number(value) or not 0 < value < 10**6:
        return value
    fit = min(max(round(value / 8) * 8, 64), 2048)
    if fit != value:
        left_out.append(f"{name.capitalize()}: {shown(value)} became {fit}")
    return fit


def is_number(value: Any) -> bool:
    """A number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def number(text: Any) -> Any:
    """The number that a text spells; the text where it spells none."""
    try:
        return int(text)
    except (ValueError, TypeError, OverflowError):
        try:
            return float(text)
        except (ValueError, TypeError, OverflowError):
            return text


def shown(value: Any) -> str:
    """A value on one short line."""
    return " ".join(str(value)[: 4 * SHOWN].split())[:SHOWN]
