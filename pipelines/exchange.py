"""Adapters on their way out, in, and together: files in the layouts of other tools, files of others, and soups."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipelines.errors import BadCheckpoint, BadRequest, StudioError
from pipelines.models.adapters import OURS, AdapterSpec, adapters
from pipelines.models.folders import NAME, look
from pipelines.workshop import SUFFIX, Workshop, refuse_taken, registered, written

if TYPE_CHECKING:
    from torch import Tensor

Layout = Literal["diffusers", "kohya"]
HALVES = {"lora_A": "lora_down", "lora_B": "lora_up"}  # peft's names and kohya's
OWN_ONLY = ("lora_adapter_metadata",)  # of peft; kohya's files hold alphas instead


def exported(spec: AdapterSpec, layout: Layout) -> bytes:
    """The file of an adapter that was taught or mixed here, as other tools read it, its metadata with it.

    Raises BadCheckpoint for files of others, which are in their own layout already.
    """
    from safetensors.torch import load_file, save

    if layout == "diffusers":
        return spec.path.read_bytes()
    if not spec.ours:
        raise BadCheckpoint(f"{spec.name} was not made here; its file is in the layout of its maker.")
    held = kohya(load_file(spec.path))
    notes = {name: text for name, text in spec.notes.items() if name not in OWN_ONLY}
    return save(held, notes | network(held))


def network(held: Mapping[str, Tensor]) -> dict[str, str]:
    """What kohya's scripts say of the kind of layers in a file: low ranks, or whole changes, which are LyCORIS's."""
    from pipelines.models.sparse import DENSE

    if any(name.endswith(f".{DENSE}") for name in held):
        return {"ss_network_module": "lycoris.kohya", "ss_network_args": '{"algo": "full"}'}
    most = str(max((len(each) for name, each in held.items() if name.endswith(".lora_down.weight")), default=0))
    return {"ss_network_module": "networks.lora", "ss_network_dim": most, "ss_network_alpha": most}


def kohya(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Layers named as kohya's scripts name them, each with its alpha, which is its rank, and changes of single weights
    as LyCORIS holds a whole one; words stay as they are."""
    import torch

    from pipelines.models.sparse import DENSE, ROLES, Sparse

    held: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if whole := re.fullmatch(r"(unet|transformer)\.(.+)\.sparse_values", key):
            own = {role: tensors[f"{whole[1]}.{whole[2]}.{role}"] for role in ROLES}
            change = Sparse.read(own, value.dtype)
            held[f"lora_{whole[1]}_{whole[2].replace('.', '_')}.{DENSE}"] = change.matrix().view(change.shape)
        if key.endswith(ROLES):
            continue
        found = re.fullmatch(r"(unet|transformer)\.(.+)\.(lora_[AB])\.weight", key)
        if found is None:
            held[key] = value
            continue
        stem = f"lora_{found[1]}_{found[2].replace('.', '_')}"
        held[f"{stem}.{HALVES[found[3]]}.weight"] = value
        if found[3] == "lora_A":
            held[f"{stem}.alpha"] = torch.tensor(float(len(value)))
    return held


def taken_in(file: Path, workshop: Workshop, name: str = "", **request: Any) -> AdapterSpec:
    """A copy of an adapter's file among ours, registered by its word where it was taught here, else by `name`.

    Raises StudioError where it is no adapter, or its name is taken.
    """
    found = look(file)
    if not isinstance(found.spec, AdapterSpec):
        raise BadCheckpoint(found.reason or f"{file.name} is no adapter.")
    called = found.spec.word or name or file.stem
    if not NAME.fullmatch(called):
        raise BadRequest("The name holds one of < > :, which prompts use; choose another.")
    refuse_taken(called)
    place = workshop.adapters / f"{called}{SUFFIX}"
    try:
        content = file.read_bytes()
    except OSError as error:
        raise StudioError(f"{file.name} could not be read: {error.strerror}.") from None
    return kept(place, content, workshop, called, str(found.spec.ours.get("model", found.spec.base)), request)


def kept(
    place: Path, content: bytes, workshop: Workshop, called: str, model: str, request: dict[str, Any]
) -> AdapterSpec:
    """Bytes as an adapter's file, noted and registered; there whole or not at all. Raises StudioError."""
    from pipelines.pictures import write

    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write(place, content)
        workshop.note(called, place.name, model, request)
        return registered(place)
    except OSError as error:
        raise StudioError(f"{place.name} could not be written: {error.strerror or error}.") from None
    except BaseException:
        place.unlink(missing_ok=True)
        raise


def mixed(weights: Mapping[str, float], name: str, workshop: Workshop) -> AdapterSpec:
    """A new adapter that is the weighted sum of others: theta = sum of w_i theta_i. Biggs et al. 2024, Section 3
    (arXiv:2406.08431).

    The sum is exact: ranks are laid side by side. One adapter at weight 1 gives its own layers, to the byte, and one at
    weight 0 is as if it had never been named. Raises StudioError where they do not go together.
    """
    if not NAME.fullmatch(name):
        raise BadRequest("The name holds one of < > :, which prompts use, or is empty; choose another.")
    refuse_taken(name)
    members = {adapters[each]: weight for each, weight in weights.items() if weight}
    if not members:
        raise BadRequest("Choose at least one adapter with a weight other than 0.")
    bases = {str(each.ours.get("weights", "")) for each in members}
    if len(bases) > 1 or "" in bases:
        raise BadCheckpoint("Only adapters that were taught here, to one and the same model, can be mixed.")
    tensors = summed(members)
    file = workshop.adapters / f"{name}{SUFFIX}"
    written(file, tensors, soup_notes(members, name, tensors))
    try:
        workshop.note(name, file.name, str(next(iter(members)).ours.get("model", "")), {"mixed": dict(weights)})
        return registered(file)
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def summed(members: Mapping[AdapterSpec, float]) -> dict[str, Tensor]:
    """The layers of a weighted sum, in peft's names. Raises BadCheckpoint where a member brings words of its own."""
    import torch
    from safetensors.torch import load_file

    downs: dict[str, list[Tensor]] = {}
    ups: dict[str, list[Tensor]] = {}
    for spec, weight in members.items():
        for key, value in load_file(spec.path).items():
            if not key.endswith((".lora_A.weight", ".lora_B.weight")):
                what = "changes single weights" if ".sparse_" in key else "brings a word of its own"
                raise BadCheckpoint(f"{spec.name} {what}, which cannot be averaged with others.")
            is_up = key.endswith(".lora_B.weight")
            (ups if is_up else downs).setdefault(key, []).append(value * weight if is_up and weight != 1 else value)
    together = {key: torch.cat(each, 0) for key, each in downs.items()}
    return together | {key: torch.cat(each, 1) for key, each in ups.items()}


def soup_notes(members: Mapping[AdapterSpec, float], name: str, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The metadata of a sum: what went in and how much of it, and every licence."""
    from pipelines.models.lora_layouts import peft_settings

    first = next(iter(members))
    parts = {each.name: weight for each, weight in members.items()}
    licences = dict.fromkeys(each.notes.get("modelspec.license", "not stated") for each in members)
    ours = {each: first.ours.get(each) for each in ("model", "weights", "family")} | {"mixed": parts}
    lengths = {key.removesuffix(".lora_A.weight"): len(each) for key, each in tensors.items() if ".lora_A." in key}
    start = next(iter(lengths)).partition(".")[0]
    ranks = {name.partition(".")[2]: rank for name, rank in lengths.items()}
    return {
        "format": "pt",
        "modelspec.title": name,
        "modelspec.merged_from": ", ".join(f"{each}:{weight:g}" for each, weight in parts.items()),
        "modelspec.license": "; ".join(licences),
        OURS: json.dumps(ours),
        **peft_settings(start, ranks),
    }
