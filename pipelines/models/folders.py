"""What lies in folders of models, ours and those of ComfyUI, A1111's web UI and Forge. It registers nothing."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import BadCheckpoint, StudioError
from pipelines.models import ModelSpec, load_folder
from pipelines.models.adapters import AdapterSpec, EmbeddingSpec, VaeSpec, adapter_of, embedding_of, vae_of
from pipelines.models.catalogue import listed_at
from pipelines.models.headers import PICKLES, recognised
from pipelines.models.transfer import SOURCE

Kind = Literal["checkpoint", "adapter", "embedding", "autoencoder", "unknown"]
Spec = ModelSpec | AdapterSpec | EmbeddingSpec | VaeSpec
ROLES = {  # folders that are looked into, over all layouts; what is in them is judged by content
    "checkpoints", "stable-diffusion", "diffusers", "loras", "lora", "lycoris", "vae", "embeddings", "adapters",
    "upscale_models", "upscalers", "esrgan", "realesrgan",
}  # fmt: skip
DEEPEST = 4  # folders below one of those
NAME = re.compile(r"[^<>:\x00-\x1f/\\]{1,200}")
INDEX = "model_index.json"


@dataclass(frozen=True)
class Found:
    """Something in a folder: what it is where the studio can use it, and else the reason why not."""

    name: str
    path: Path
    kind: Kind
    stamp: tuple[int, int]  # when it was changed, and bytes: other content has another
    spec: Spec | None = None
    reason: str = ""


def candidates(folder: Path) -> Iterator[Path]:
    """Checkpoint folders and weight files below a folder of any known layout, each once; itself, if it is one."""
    seen: set[Path] = set()
    if _is_candidate(folder):
        yield folder
        return
    for root in _roots(folder):
        walked = (each for role in _roles(root) for each in _walk(role))
        for path in [*filter(_is_candidate, _listed(root)), *walked]:
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def look(path: Path) -> Found:
    """What a checkpoint folder or a weight file is; headers are read, no weights. It never raises."""
    is_folder = path.is_dir()
    name = path.name if is_folder else path.stem
    mark = stamp(path)
    if not NAME.fullmatch(name):
        return Found(name, path, "unknown", mark, reason="Its name holds one of < > :, which prompts use; rename it.")
    try:
        kind, spec = ("checkpoint", load_folder(path, name, **facts(path))) if is_folder else _opened(path, name)
    except (StudioError, OSError) as error:
        return Found(name, path, "checkpoint" if is_folder else "unknown", mark, reason=str(error))
    return Found(name, path, kind, mark, spec)  # type: ignore[arg-type]


def stamp(path: Path) -> tuple[int, int]:
    """When a candidate was changed, and its bytes; (0, 0) where it is gone."""
    files = [*sorted(path.glob("*/*")), path / INDEX] if path.is_dir() else [path]
    try:
        said = [each.stat() for each in files if each.is_file()]
    except OSError:
        return 0, 0
    return max((each.st_mtime_ns for each in said), default=0), sum(each.st_size for each in said)


def source_of(path: Path) -> dict[str, Any]:
    """Where a download came from: hub, revision, licence; empty for what people brought themselves."""
    beside = path / SOURCE if path.is_dir() else path.with_name(f"{path.stem}.{SOURCE}")
    try:
        said = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {name: str(value)[:200] for name, value in said.items()} if isinstance(said, dict) else {}


def facts(path: Path) -> dict[str, Any]:
    """What is known of a checkpoint besides its files: title, licence, summary."""
    source = source_of(path)
    listed = listed_at(source.get("hub", ""))
    known = {"title": listed.title, "summary": listed.summary, "licence": listed.licence} if listed else {}
    return {**known, **({"licence": source["licence"]} if source.get("licence") else {})}


def _opened(path: Path, name: str) -> tuple[Kind, Spec]:
    from pipelines.models.esrgan import read_enlarger
    from pipelines.models.single_file import read_file

    known = recognised(path)
    if known.what == "checkpoint":
        return "checkpoint", read_file(path, name, known, **facts(path))
    if known.what == "lora":
        return "adapter", adapter_of(path, name, known)
    if known.what == "vae":
        return "autoencoder", vae_of(path, name, known)
    if known.what == "embedding":
        return "embedding", embedding_of(path, name, known)
    if known.what == "enlarger":
        return "checkpoint", read_enlarger(path, name, known, **facts(path))
    raise BadCheckpoint(f"{path.name} is nothing the studio can use.")


def _roots(folder: Path) -> list[Path]:
    """Where role folders may be: here, in `models` below, and beside `models` for the embeddings of A1111."""
    beside = [folder.parent / "embeddings"] if folder.name.lower() == "models" else []
    return [folder, folder / "models", *beside]


def _roles(root: Path) -> list[Path]:
    return [each for each in [root, *_listed(root)] if each.name.lower() in ROLES and each.is_dir()]


def _walk(role: Path, depth: int = DEEPEST) -> Iterator[Path]:
    for each in _listed(role):
        if _is_candidate(each):
            yield each
        elif depth and each.is_dir():
            yield from _walk(each, depth - 1)


def _is_candidate(path: Path) -> bool:
    return (path / INDEX).is_file() or (path.suffix.lower() in {".safetensors", *PICKLES} and path.is_file())


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(Path(each.path) for each in os.scandir(folder) if not each.name.startswith("."))
    except OSError:
        return []
