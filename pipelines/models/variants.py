"""Which files of a repository the studio fetches: one number type of each network, and nothing it would not open."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pipelines.errors import BadRequest

UNUSED = {"safety_checker", "feature_extractor", "image_encoder"}  # parts of a checkpoint that no task here lends
TEXTS = (".json", ".txt")
PICKLED = (".bin", ".ckpt", ".pt", ".pth")
LIKED = ("fp16", "", "bf16")  # number types by preference; "" is the plain file, most often float32
SAFE = re.compile(r"[\w][\w.+ -]*(/[\w][\w.+ -]*){0,4}")
WEIGHTS = re.compile(r"(?P<stem>[\w-]+?)(\.(?P<kind>\w+))?(?P<shard>-\d{5}-of-\d{5})?\.safetensors")
INDEX = re.compile(r"(?P<stem>[\w-]+)\.safetensors\.index(\.(?P<kind>\w+))?\.json")


@dataclass(frozen=True)
class Remote:
    """One file on the Hub: its path there, bytes, and its digest where the Hub names one."""

    path: str
    size: int
    sha256: str | None = None

    @property
    def local(self) -> str:
        """Its path here: without the number type in its name, as a plain checkpoint has it."""
        folder, _, name = self.path.rpartition("/")
        return f"{folder}/{plain_name(name)}" if folder else plain_name(name)


def plain_name(name: str) -> str:
    """The name of a weight file or index without its number type."""
    if found := INDEX.fullmatch(name):
        return f"{found['stem']}.safetensors.index.json"
    found = WEIGHTS.fullmatch(name)
    return f"{found['stem']}{found['shard'] or ''}.safetensors" if found and found["kind"] in LIKED else name


def wanted(id: str, remotes: Sequence[Remote], index: Mapping[str, Any] | None, file: str) -> tuple[Remote, ...]:
    """The files to fetch: a checkpoint in the diffusers layout, or one weight file. Raises BadRequest."""
    safe = [each for each in remotes if SAFE.fullmatch(each.path) and ".." not in each.path]
    if index is None:
        return (_single(id, safe, file),)
    parts = [name for name, kind in index.items() if isinstance(kind, list) and kind and kind[0] and name not in UNUSED]
    chosen = [each for each in safe if each.path == "model_index.json"]
    for part in parts:
        own = [each for each in safe if PurePosixPath(each.path).parent == PurePosixPath(part)]
        chosen += [each for each in own if each.path.endswith(TEXTS) and not INDEX.fullmatch(_name(each))]
        chosen += _weights(id, part, own)
    return tuple(chosen)


def _single(id: str, safe: Iterable[Remote], file: str) -> Remote:
    weights = [each for each in safe if each.path.endswith(".safetensors")]
    named = [each for each in weights if each.path == file] if file else weights
    if len(named) == 1:
        return named[0]
    if file:
        raise BadRequest(f"{id} has no safetensors file called {file[:80]!r}.")
    if not weights:
        raise BadRequest(f"{id} holds no safetensors; the studio opens no other weights, as pickles can run code.")
    listed = ", ".join(each.path for each in weights[:6])
    raise BadRequest(
        f"{id} holds {len(weights)} weight files; name one of them: {listed}{' ...' * (len(weights) > 6)}."
    )


def _weights(id: str, part: str, own: Sequence[Remote]) -> list[Remote]:
    """The weights of one network in the number type that is liked most, with their index."""
    by_kind: dict[str, list[Remote]] = {}
    for each in own:
        found = WEIGHTS.fullmatch(_name(each)) or INDEX.fullmatch(_name(each))
        if found and (found["kind"] or "") in LIKED and found["stem"] in ("diffusion_pytorch_model", "model"):
            by_kind.setdefault(found["kind"] or "", []).append(each)
    best = next((kind for kind in LIKED if any(e.path.endswith(".safetensors") for e in by_kind.get(kind, []))), None)
    if best is not None:
        return by_kind[best]
    if any(each.path.endswith(PICKLED) for each in own):
        raise BadRequest(
            f"{id} has its {part} as a pickle only, which can run code; the studio opens safetensors only."
        )
    return []


def _name(remote: Remote) -> str:
    return PurePosixPath(remote.path).name
