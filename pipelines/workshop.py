"""Where a training lies while it goes on, and where its adapter goes. It knows no network and no request type.

A training's folder is named by the digest of its request, seed and all: the same request goes on from there, whoever
asks for it and whatever ended it the last time.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import BadRequest, StudioError
from pipelines.models.adapters import AdapterSpec, adapters, embeddings
from pipelines.models.folders import look

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.request import Request

logger = logging.getLogger(__name__)
FORGOTTEN = 14 * 86400  # seconds after which a training that nobody goes on with is swept out
ENOUGH = "enough"  # the mark in a training's folder that says: keep what there is
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Workshop:
    """Two folders: `runs` holds trainings that are not finished, `adapters` what came of others.

    `note` is told (word, file, model, request) of each adapter that is kept; it raises StudioError at a taken word.
    """

    runs: Path
    adapters: Path
    note: Callable[[str, str, str, dict[str, Any]], object] = lambda *_: None

    def run(self, request: Request) -> Run:
        """The training of a request; it is begun where it is not there. Raises StudioError."""
        run = Run(self.runs / digest(request))
        try:
            run.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StudioError(f"The training could not be begun: {error.strerror or error}.") from None
        return run

    def room(self) -> int:
        """Bytes that are free on the disk."""
        place = next(each for each in (self.runs, *self.runs.parents) if each.exists())
        return shutil.disk_usage(place).free

    def sweep(self, now: float) -> None:
        """Delete trainings that nobody has gone on with for two weeks."""
        for folder in self.runs.glob("*/"):
            if folder.stat().st_mtime < now - FORGOTTEN:
                shutil.rmtree(folder, ignore_errors=True)

    def keep(
        self, word: str, tensors: Mapping[str, Tensor], notes: Mapping[str, str], model: str, request: Request
    ) -> AdapterSpec:
        """Write an adapter, note and register it: there whole or not at all. Raises StudioError."""
        refuse_taken(word)
        file = self.adapters / f"{word}{SUFFIX}"
        written(file, tensors, notes)
        try:
            self.note(word, file.name, model, request.model_dump(mode="json"))
            spec = registered(file)
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return spec


@dataclass(frozen=True)
class Run:
    """The folder of one training."""

    folder: Path

    @property
    def state(self) -> Path:
        """The file of the checkpoint."""
        return self.folder / f"state{SUFFIX}"

    def enough(self) -> None:
        """Have the training end at its next step and keep what there is."""
        (self.folder / ENOUGH).touch()

    @property
    def is_enough(self) -> bool:
        """Whether somebody wants it to end and to keep what there is."""
        return (self.folder / ENOUGH).exists()

    def found(self, name: str) -> Tensor | None:
        """What was put here under a name, on the host; None where nothing was."""
        from safetensors.torch import load_file

        file = self.folder / f"{name}{SUFFIX}"
        return load_file(file)[name] if file.exists() else None

    def put(self, name: str, tensor: Tensor) -> Tensor:
        """Keep a tensor for as long as the training lasts. Raises StudioError where the disk will not take it."""
        written(self.folder / f"{name}{SUFFIX}", {name: tensor}, {})
        return tensor

    def drop(self) -> None:
        """Delete it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def digest(request: Request) -> str:
    """What a training of this request is called."""
    return hashlib.sha256(request.to_json().encode()).hexdigest()[:32]


def written(file: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> None:
    """A safetensors file, there whole or not at all. Raises StudioError where the disk will not take it."""
    from safetensors.torch import save

    from pipelines.device import on_host
    from pipelines.pictures import write

    content = save({name: on_host(each.detach()).contiguous() for name, each in tensors.items()}, dict(notes) or None)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write(file, content)
    except OSError as error:
        raise StudioError(f"{file.name} could not be written: {error.strerror or error}.") from None


def refuse_taken(word: str) -> None:
    """Raises BadRequest where a word stands for something already."""
    for registry in (adapters, embeddings):
        taken = next((name for name in registry if name.lower() == word.lower()), None)
        if taken:
            raise BadRequest(f"Word: there is an {registry.noun} called {taken!r} already; choose another word.")


def registered(file: Path) -> AdapterSpec:
    """The adapter in a file, in the registry from now on. Raises StudioError where the file is none."""
    found = look(file)
    if not isinstance(found.spec, AdapterSpec):
        raise StudioError(f"{file.name} could not be read back: {found.reason}")
    return adapters.add(found.name, found.spec)


def swept(workshop: Workshop) -> None:
    """Sweep a workshop; what cannot be deleted stays."""
    try:
        workshop.sweep(time.time())
    except OSError as error:
        logger.warning("Trainings of long ago stay: %s", error)
