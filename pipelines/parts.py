"""Parts and the files behind them: what a network is, known from safetensors headers before anything is allocated."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import BadCheckpoint

if TYPE_CHECKING:
    import torch
    from torch import nn

logger = logging.getLogger(__name__)
LONGEST_HEADER = 100_000_000  # bytes; safetensors' own limit
SAMPLES, SAMPLE = 64, 4096  # places and bytes of a weight file that its fingerprint reads
GLANCE = 256  # bytes in the middle of every tensor that it reads too: some fine-tunes change a few tensors only
UNHEARD = {
    "_name_or_path",
    "name_or_path",
    "_diffusers_version",
    "transformers_version",
    "torch_dtype",
    "dtype",
    "special_tokens_map_file",
}  # settings that change no picture
BITS = {
    "F64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "I64": 64,
    "I32": 32,
    "I16": 16,
    "I8": 8,
    "U8": 8,
    "BOOL": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
}


@dataclass(frozen=True)
class Part:
    """One loadable network, the unit of loading, lending and eviction. Parts with equal keys share one copy.

    `key` stands for the content of its files; `width` is its typical channel count, by which a number type is
    chosen; `elements` how many weights it has; `load` makes it, on the host, in the type given. `stored` names the
    number types of its files, as safetensors does: loaded in its own, it stays mapped from its file. `check` raises
    BadCheckpoint where the files are no longer what they were.
    """

    name: str
    key: str
    elements: int
    width: int
    load: Callable[[torch.dtype], nn.Module] = field(compare=False)
    number_type: torch.dtype | None = None  # where the checkpoint insists on one
    stored: frozenset[str] = frozenset()
    wide: bool = False  # its activations leave the range of float16: where that would be its type, it runs in float32
    check: Callable[[], object] = field(default=lambda: None, compare=False)


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself: shapes by tensor name, its number types, a fingerprint of its content."""

    shapes: dict[str, tuple[int, ...]]
    fingerprint: str
    types: frozenset[str] = frozenset()

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return sum(_product(shape) for shape in self.shapes.values())


def header(path: Path) -> Header:
    """The header of a safetensors file, checked against the file's size. Raises BadCheckpoint."""
    try:
        status = path.stat()
    except OSError:
        raise BadCheckpoint(f"The weights {path.name} are missing.") from None
    return _header(path, status.st_size, status.st_mtime_ns)


@cache
def _header(path: Path, size: int, changed: int) -> Header:  # noqa: ARG001  # a changed file is read again
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, LONGEST_HEADER):
            raise BadCheckpoint(f"{path.name} is not a safetensors file, or was cut off.")
        raw = file.read(length)
        digest = hashlib.sha256(raw)
        for start in range(8 + length, size, max((size - 8 - length) // SAMPLES, SAMPLE)):
            file.seek(start)
            digest.update(file.read(SAMPLE))
        shapes, types, places = _shapes(path, raw)
        end = max((end for _, end in places), default=0)
        if end != size - 8 - length:
            raise BadCheckpoint(
                f"{path.name} is damaged: it holds {size - 8 - length} bytes of weights and names {end}."
            )
        for begin, end in places:
            file.seek(8 + length + max(begin, (begin + end - GLANCE) // 2))
            digest.update(file.read(min(GLANCE, end - begin)))
    return Header(shapes, digest.hexdigest()[:32], types)


def _shapes(path: Path, raw: bytes) -> tuple[dict[str, tuple[int, ...]], frozenset[str], list[tuple[int, int]]]:
    try:
        entries: dict[str, Any] = json.loads(raw)
        entries.pop("__metadata__", None)
        places: list[tuple[int, int]] = []
        for each in entries.values():
            begin, end = each["data_offsets"]
            if begin < 0 or (end - begin) * 8 != _product(each["shape"]) * BITS[each["dtype"]]:
                raise ValueError(each)
            places.append((int(begin), int(end)))
        types = frozenset(str(each["dtype"]) for each in entries.values())
        return {name: tuple(each["shape"]) for name, each in entries.items()}, types, sorted(places)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadCheckpoint(f"{path.name} is damaged: its header does not hold together.") from None


def _product(shape: tuple[int, ...] | list[int]) -> int:
    product = 1
    for side in shape:
        product *= int(side)
    return product


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of one diffusers or transformers folder, whole or in shards. Raises BadCheckpoint."""
    for stem in ("diffusion_pytorch_model", "model"):
        index = folder / f"{stem}.safetensors.index.json"
        if index.exists():
            shards = json_file(index).get("weight_map", {})
            return sorted({folder / Path(str(name)).name for name in shards.values()})
        if (folder / f"{stem}.safetensors").exists():
            return [folder / f"{stem}.safetensors"]
    if any(_pickles(folder)):
        raise BadCheckpoint(
            f"{folder.name} holds its weights as a pickle, which can run code; the studio opens safetensors only. "
            "Convert it, or fetch the safetensors variant."
        )
    raise BadCheckpoint(f"There are no weights in {folder.name}: a .safetensors file is expected.")


def _pickles(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob("*") if path.suffix in {".bin", ".ckpt", ".pt", ".pth"})


def json_file(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises BadCheckpoint naming the file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise BadCheckpoint(f"{path.parent.name}/{path.name} is missing or is not JSON.") from None
    if not isinstance(values, dict):
        raise BadCheckpoint(f"{path.parent.name}/{path.name} does not hold an object.")
    return values


def folder_part(
    name: str, folder: Path, width: int, load: Callable[[torch.dtype], nn.Module], beside: tuple[Path, ...] = ()
) -> Part:
    """A part kept in a folder; its key is the content of its weights, its config and the files beside it."""
    files = weight_files(folder)
    headers = [header(path) for path in files]
    digest = hashlib.sha256("".join(each.fingerprint for each in headers).encode())
    for path in (folder / "config.json", *beside):
        if path.exists():
            digest.update(_told(path))
    elements = sum(each.elements for each in headers)
    return Part(
        name,
        digest.hexdigest()[:32],
        elements,
        width,
        lambda number_type: _loaded(folder, load, number_type),
        stored=frozenset().union(*(each.types for each in headers)),
        check=lambda: [header(path) for path in files],
    )


def _told(path: Path) -> bytes:
    """What a file beside the weights says, less what says nothing of a picture, such as who wrote it."""
    content = path.read_bytes()
    try:
        settings = json.loads(content) if path.suffix == ".json" else None
    except (ValueError, RecursionError):
        return content
    if not isinstance(settings, dict):
        return content
    return json.dumps({name: value for name, value in sorted(settings.items()) if name not in UNHEARD}).encode()


def _loaded(folder: Path, load: Callable[[torch.dtype], nn.Module], number_type: torch.dtype) -> nn.Module:
    """What `load` makes; a loader's complaint becomes a sentence, running out of memory stays what it is."""
    import torch
    from safetensors import SafetensorError

    try:
        return load(number_type)
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        logger.warning("%s could not be loaded: %s", folder, error)
        place = f"{folder.parent.name}/{folder.name}"
        raise BadCheckpoint(f"The weights in {place} do not fit their settings, or are damaged.") from None
