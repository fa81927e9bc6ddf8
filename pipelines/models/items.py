"""Lines of the Models page: what is here, what was refused and why, what could be had."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.models import ModelSpec
from pipelines.models.adapters import AdapterSpec
from pipelines.models.catalogue import Listed
from pipelines.models.folders import Found, source_of
from pipelines.models.headers import BASES

State = Literal["ready", "refused", "known", "unavailable"]


@dataclass(frozen=True)
class Item:
    """What something is, where it lies or could be had, and why not where it cannot be used."""

    name: str
    title: str
    kind: str
    family: str
    licence: str
    state: State
    place: str
    bytes: int
    reason: str = ""
    hub: str = ""
    words: str = ""  # that wake an adapter
    own: bool = False  # whether it lies in the studio's own folder, and can be removed


def item_of(found: Found, folder: Path) -> Item:
    """The line of something in a folder of models; `folder` is the studio's own."""
    spec, source = found.spec, source_of(found.path)
    model = spec if isinstance(spec, ModelSpec) else None
    return Item(
        name=found.name,
        title=model.title if model else found.name,
        kind=found.kind,
        family=model.family if model else _made_for(getattr(spec, "base", "")),
        licence=model.licence if model else source.get("licence", "not stated"),
        state="ready" if spec else "refused",
        place=str(found.path),
        bytes=found.stamp[1],
        reason=found.reason,
        hub=source.get("hub", ""),
        words=spec.words if isinstance(spec, AdapterSpec) else "",
        own=found.path.is_relative_to(folder),
    )


def built_in(spec: ModelSpec) -> Item:
    """The line of a checkpoint that comes with the studio."""
    weights = spec.plans.parent.rglob("*.safetensors") if spec.plans else ()
    size = sum(each.stat().st_size for each in weights)
    return Item(spec.name, spec.title, "checkpoint", spec.family, spec.licence, "ready", "with the studio", size)


def listed_item(each: Listed) -> Item:
    """The line of something in the catalogue that is not here."""
    reason = each.unavailable or ("Its terms must be accepted on the Hub first." if each.gated else "")
    return Item(
        each.name,
        each.title,
        each.kind,
        _made_for(each.base),
        each.licence,
        "unavailable" if each.unavailable else "known",
        "on the Hub",
        int(each.gigabytes * 1e9),
        reason,
        each.hub,
    )


def _made_for(base: str) -> str:
    return BASES.get(base, base) if base else "not said"
