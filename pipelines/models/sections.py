"""One file that holds several networks: each of them a section, known by the prefix of its names."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import BadCheckpoint
from pipelines.parts import Part, header

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

logger = logging.getLogger(__name__)
SAMPLES, SAMPLE = 64, 4096  # tensors and bytes of each that a fingerprint reads


@dataclass(frozen=True)
class Section:
    """The tensors of `path` whose names begin with `prefix`: shapes by the rest of the name, and what they hold."""

    path: Path
    prefix: str
    shapes: dict[str, tuple[int, ...]]
    elements: int
    types: frozenset[str]
    fingerprint: str

    def tensors(self, whole_names: bool = False) -> dict[str, Tensor]:
        """The weights by name, mapped from the file as they are stored."""
        from safetensors import safe_open

        with safe_open(self.path, "pt") as file:
            return {
                f"{self.prefix}{name}" if whole_names else name: file.get_tensor(f"{self.prefix}{name}")
                for name in self.shapes
            }


def section(path: Path, prefix: str) -> Section:
    """A section of a file whose header was checked; its fingerprint does not depend on what else the file holds."""
    entries, begin = _entries(path)
    own = {name.removeprefix(prefix): each for name, each in sorted(entries.items()) if name.startswith(prefix)}
    said = [(name, each["dtype"], each["shape"]) for name, each in own.items()]
    digest = hashlib.sha256(json.dumps(said).encode())
    with path.open("rb") as file:
        for each in list(own.values())[:: max(len(own) // SAMPLES, 1)]:
            first, end = each["data_offsets"]
            file.seek(begin + first)
            digest.update(file.read(min(SAMPLE, end - first)))
    shapes = {name: tuple(each["shape"]) for name, each in own.items()}
    known = header(path).shapes
    elements = sum(_product(known[f"{prefix}{name}"]) for name in shapes)
    return Section(path, prefix, shapes, elements, frozenset(e["dtype"] for e in own.values()), digest.hexdigest()[:32])


def values(path: Path, name: str) -> np.ndarray[Any, Any]:
    """One small tensor as float32, read without torch."""
    import numpy as np

    entries, begin = _entries(path)
    entry = entries[name]
    first, end = entry["data_offsets"]
    with path.open("rb") as file:
        file.seek(begin + first)
        raw = file.read(end - first)
    if entry["dtype"] == "BF16":
        return (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, {"F16": np.float16, "F32": np.float32, "F64": np.float64}[entry["dtype"]]).astype(
        np.float32
    )


def _entries(path: Path) -> tuple[dict[str, Any], int]:
    """(what the header names, where the weights begin)."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entries: dict[str, Any] = json.loads(file.read(length))
    entries.pop("__metadata__", None)
    return entries, 8 + length


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product


def section_part(
    name: str, known: Section, settings: dict[str, Any], width: int, load: Callable[[torch.dtype], nn.Module]
) -> Part:
    """A part kept in a section; its key is its content and its settings, not its file."""
    key = hashlib.sha256(f"{known.fingerprint}{json.dumps(settings, sort_keys=True)}".encode()).hexdigest()[:32]
    return Part(
        name,
        key,
        known.elements,
        width,
        guarded(name, known.path, load),
        stored=known.types,
        check=lambda: header(known.path),
    )


def guarded(name: str, path: Path, load: Callable[[torch.dtype], nn.Module]) -> Callable[[torch.dtype], nn.Module]:
    """What `load` does; its complaint becomes a sentence, running out of memory stays what it is."""

    def loaded(number_type: torch.dtype) -> nn.Module:
        import torch
        from safetensors import SafetensorError

        try:
            return load(number_type)
        except torch.OutOfMemoryError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
            logger.warning("%s could not be loaded: %s", path, error)
            raise BadCheckpoint(f"{name} in {path.name} is incomplete or damaged.") from None

    return loaded


def filled(make: Callable[[], Any], tensors: dict[str, Tensor], number_type: torch.dtype) -> nn.Module:
    """A network made without weights and given these. Raises KeyError where one is missing, RuntimeError at shapes."""
    from accelerate import init_empty_weights

    with init_empty_weights():
        network = make()
    given = {name: value.to(number_type) if value.is_floating_point() else value for name, value in tensors.items()}
    missing = network.load_state_dict(given, strict=False, assign=True).missing_keys
    if missing:
        raise KeyError(*missing[:3])
    return network  # type: ignore[no-any-return]
