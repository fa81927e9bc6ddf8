"""What the Models page shows: every model there is or could be, and where each of its networks lies now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.models import ModelSpec, models
from pipelines.models.adapters import adapters, vaes
from pipelines.models.items import Item
from pipelines.stock import Stock
from studio.gauge import NAMES
from studio.phrases import size

if TYPE_CHECKING:
    from pipelines.memory import Memory
    from pipelines.parts import Part

RUNGS = {0: "", 1: "in stripes", 2: "in 8 bits", 3: "block by block"}
TYPES = {"float32": "32 bits", "bfloat16": "16 bits", "float16": "16 bits"}
BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8}


def holdings(stock: Stock, memory: Memory | None) -> dict[str, Any]:
    """Tiers with what they hold, and a row for each model."""
    return {"tiers": tiers(memory), "rows": [row(each, memory) for each in stock.known()]}


def tiers(memory: Memory | None) -> list[dict[str, Any]]:
    """The device, and the host's memory where that is another: bytes of weights held, and how many may be."""
    if memory is None:
        return []
    name = NAMES.get(memory.device.kind, memory.device.kind)
    shown = [tier(f"Models on the {name}", memory.used(), memory.budget)]
    if not memory.device.is_host:
        shown.append(tier("Models kept in RAM", memory.ram_used(), memory.ram))
    return shown


def tier(name: str, used: int, budget: int) -> dict[str, Any]:
    """One meter."""
    return {"name": name, "share": round(min(used / max(budget, 1), 1), 4), "text": f"{size(used)} of {size(budget)}"}


def row(item: Item, memory: Memory | None) -> dict[str, Any]:
    """One model: what it is, and its networks."""
    parts = [network(part, memory) for part in parts_of(item)]
    return {
        "name": item.name,
        "title": item.title,
        "kind": item.kind,
        "facts": facts(item),
        "words": item.words,
        "place": item.place,
        "state": item.state,
        "reason": item.reason,
        "own": item.own,
        "hub": item.hub,
        "parts": parts,
        "lent": any(each["lent"] for each in parts),
        "kept": bool(parts) and all(each["kept"] for each in parts),
        "loaded": any(each["tier"] != "file" for each in parts),
    }


def facts(item: Item) -> list[str]:
    """Family, size and licence, as far as they are known."""
    family = "" if item.family == "not said" else item.family
    licence = "licence not stated" if item.licence == "not stated" else item.licence
    known = [family, weight(item.bytes) if item.bytes else "", "" if item.state == "refused" else licence]
    return [each for each in known if each]


def weight(count: int) -> str:
    """Bytes of one network or file as people say them; the smallest to a tenth of a megabyte."""
    return size(count) if count >= 10 * 2**20 else f"{count / 2**20:.1f} MB"


def parts_of(item: Item) -> tuple[Part, ...]:
    """The networks of a model that is ready."""
    if item.state != "ready":
        return ()
    if item.kind == "checkpoint" and item.name in models:
        spec: ModelSpec = models[item.name]
        return spec.parts()
    if item.kind == "adapter" and item.name in adapters:
        return (adapters[item.name].part,)
    return (vaes[item.name].part,) if item.kind == "autoencoder" and item.name in vaes else ()


def network(part: Part, memory: Memory | None) -> dict[str, Any]:
    """One network: its size and number type where it lies, and whether somebody works with it."""
    resident = memory.found_any(part) if memory else None
    kinds = ", ".join(f"{bits} bits" for bits in sorted({BITS[each] for each in part.stored if each in BITS}))
    shown = {
        "name": part.name.removeprefix("The ").capitalize(),
        "kept": bool(memory and memory.keeps(part)),
        "lent": bool(resident and resident.lent),
    }
    if memory is None or resident is None or not (resident.taken or resident.ram):
        return {**shown, "tier": "file", "where": "in its file", "size": "", "type": kinds}
    kind = TYPES.get(str(resident.number_type).removeprefix("torch."), str(resident.number_type))
    if not resident.taken:
        return {**shown, "tier": "ram", "where": "in RAM", "size": weight(resident.ram), "type": kind}
    way = RUNGS[int(resident.rung or 0)]
    place = f"on the {NAMES.get(memory.device.kind, memory.device.kind)}"
    where = f"{place}{', ' + way if way else ''}" if resident.on_device else f"in part {place}"
    return {**shown, "tier": "device", "where": where, "size": weight(resident.taken), "type": kind}
