"""The models this studio has: scanned from folders, fetched, added, removed. For the page: names, never paths, come in.

It keeps the registries of models, adapters, embeddings and autoencoders as the folders are. It lends nothing.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.errors import BadRequest, StudioError
from pipelines.models import ModelSpec, models
from pipelines.models.adapters import adapters, embeddings, vaes
from pipelines.models.catalogue import added_presets, catalogue
from pipelines.models.folders import Found, candidates, look, stamp
from pipelines.models.hub import Offer, offer
from pipelines.models.items import Item, built_in, item_of, listed_item
from pipelines.models.scorers import scan_scorers
from pipelines.models.transfer import Transfer, fetch
from pipelines.registry import Registry
from pipelines.styles import scan_styles

REGISTRIES: dict[str, Registry[Any]] = {
    "checkpoint": models, "adapter": adapters, "embedding": embeddings, "autoencoder": vaes,
}  # fmt: skip
FURTHER = "further.json"  # in the models folder: other folders that were added at the page


class Stock:
    """The studio's models folder and further ones. `offline` forbids downloads."""

    def __init__(self, folder: Path, further: Iterable[Path] = (), offline: bool = False) -> None:
        self.folder, self._named, self.offline = folder, list(further), offline
        self._found: dict[Path, Found] = {}
        self._plain: dict[str, ModelSpec] = {}  # checkpoints with no presets but their own
        self._lock = threading.RLock()

    def rescan(self) -> list[Found]:
        """Bring the registries to what the folders hold now; returns what was refused. Headers are read, no weights."""
        with self._lock:
            here = {path: stamp(path) for folder in self.folders() for path in candidates(folder)}
            for path, found in list(self._found.items()):
                if here.get(path) != found.stamp:
                    self._forget(found)
            for path in here:
                if path not in self._found:
                    self._found[path] = self._registered(look(path))
            self._offer_few_steps()
            scan_scorers(self.folders())
            scan_styles(self.folders())
            return [each for each in self._found.values() if each.reason]

    def folders(self) -> list[Path]:
        """Every folder that is scanned: the studio's own, those of the settings, those that were added."""
        return [self.folder, *self._named, *(Path(each) for each in self._added())]

    def known(self) -> list[Item]:
        """All there is to show: what is ready, what was refused, and what could be had."""
        with self._lock:
            here = [item_of(each, self.folder) for each in self._found.values()]
            own = [built_in(spec) for name, spec in models.items() if name not in {each.name for each in here}]
        had = {each.name for each in (*own, *here)}
        return [*own, *here, *(listed_item(each) for name, each in catalogue.items() if name not in had)]

    def add(self, source: str) -> list[Item]:
        """Take in a folder, or one file, that lies on this machine. Raises BadRequest, and what `look` objects to."""
        path = Path(source).expanduser()
        if not path.exists():
            raise BadRequest(f"There is no {source[:200]!r} on this machine.")
        before = {each.name for each in self.known() if each.state == "ready"}
        added = [*self._added(), str(path.resolve())]
        if path.is_dir() and not any(candidates(path)) and not (path / "model_index.json").is_file():
            raise BadRequest(f"{path.name} holds no checkpoint, LoRA, embedding or VAE.")
        if path.is_file() and (reason := look(path).reason):
            raise BadRequest(reason)
        self._keep(list(dict.fromkeys(added)))
        self.rescan()
        return [each for each in self.known() if each.state == "ready" and each.name not in before]

    def offer(self, hub_id: str, file: str = "") -> Offer:
        """What a download would fetch, under what licence: to be shown before it begins. Raises StudioError."""
        if self.offline:
            raise StudioError("The studio was started with --offline, so nothing can be downloaded.")
        listed = next((each for name, each in catalogue.items() if name == hub_id), None)
        return offer(listed.hub, listed.file) if listed else offer(hub_id, file)

    def download(self, found: Offer) -> Generator[Transfer, None, str]:
        """Fetch an offer; yields how far it is, returns its name here. Closing it keeps what came. StudioError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = yield from fetch(found, self.folder)
        self.rescan()
        return self._found[path].name

    def remove(self, name: str) -> None:
        """Delete what lies in the studio's own folder under a name. Raises BadRequest at all else."""
        with self._lock:
            here = next((each for each in self._found.values() if each.name == name), None)
            if here is None:
                raise BadRequest(f"There is no {name[:80]!r} that could be removed.")
            if not here.path.resolve().is_relative_to(self.folder.resolve()):
                raise BadRequest(f"{name} lies in {here.path.parent}, which is not the studio's; remove it there.")
            try:
                shutil.rmtree(here.path) if here.path.is_dir() else here.path.unlink()
            except OSError as error:
                raise StudioError(f"{name} could not be removed: {error.strerror}.") from None
            here.path.with_name(f"{here.path.stem}.source.json").unlink(missing_ok=True)
            self.rescan()

    def _registered(self, found: Found) -> Found:
        """The same, in its registry; or refused, where its name is taken by something else."""
        if found.spec is None:
            return found
        registry = REGISTRIES[found.kind]
        if found.name in registry and getattr(registry[found.name], "path", None) == found.path:
            registry.replace(found.name, found.spec)  # it was taught here, a moment ago
            return found
        if found.name in registry:
            taken = next((each.path for each in self._found.values() if each.name == found.name), None)
            where = f"in {taken.parent}" if taken else "already"
            return replace(
                found, spec=None, reason=f"Another {registry.noun} is called {found.name} {where}; rename one."
            )
        registry.add(found.name, found.spec)
        return found

    def _forget(self, found: Found) -> None:
        del self._found[found.path]
        self._plain.pop(found.name, None)
        if found.spec is not None and found.name in REGISTRIES[found.kind]:
            REGISTRIES[found.kind].remove(found.name)

    def _offer_few_steps(self) -> None:
        """Presets of few-step adapters that are here, on every checkpoint they are made for."""
        for name, spec in list(models.items()):
            own = self._plain.get(name, spec)
            own = self._plain[name] = own if own.net is spec.net else spec
            presets = (*own.presets, *added_presets(own, adapters))
            if presets != spec.presets:
                models.replace(name, replace(own, presets=presets))

    def _added(self) -> list[str]:
        try:
            said = json.loads((self.folder / FURTHER).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return []
        return [each for each in said if isinstance(each, str)] if isinstance(said, list) else []

    def _keep(self, added: list[str]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / FURTHER).write_text(json.dumps(added), encoding="utf-8")
        except OSError as error:
            raise StudioError(f"{self.folder} could not be written: {error.strerror}.") from None
