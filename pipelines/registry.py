"""A registry is a mapping from names to things that says so when a name is taken or unknown."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Generic, TypeVar

from pipelines.errors import UnknownName

T = TypeVar("T")
E = TypeVar("E")


class Registry(Mapping[str, T], Generic[T]):
    """Names to entries, in order of registration. `noun` is the word used in error sentences."""

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> T:
        """Keep `entry` under `name`. Raises ValueError naming both where the name is taken."""
        if name in self._entries:
            raise ValueError(f"{self.noun} {name!r} is registered twice: {self._entries[name]!r} and {entry!r}")
        self._entries[name] = entry
        return entry

    def register(self, name: str) -> Callable[[E], E]:
        """The decorator form of `add`."""

        def keep(entry: E) -> E:
            self.add(name, entry)  # type: ignore[arg-type]  # the decorated thing keeps its own, narrower type
            return entry

        return keep

    def replace(self, name: str, entry: T) -> T:
        """Keep `entry` in the place of what `name` stood for. Raises UnknownName."""
        self[name]
        self._entries[name] = entry
        return entry

    def remove(self, name: str) -> T:
        """Forget `name` and return what it stood for. Raises UnknownName."""
        entry = self[name]
        del self._entries[name]
        return entry

    def __getitem__(self, name: str) -> T:
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownName(self._unknown(name)) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(str(name), self._entries, n=1)
        listed = f"There are: {', '.join(self._entries)}." if self._entries else "There are none."
        hint = f" Did you mean {near[0]!r}?" if near else f" {listed}"
        return f"There is no {self.noun} called {str(name)[:80]!r}.{hint}"


def discover(package: str, path: list[str], mark: str = "") -> None:
    """Import every module of a package whose source holds `mark`, so that each can register itself."""
    for module in iter_modules(path):
        if not mark or any(mark in file.read_text(encoding="utf-8") for file in _sources(path, module.name)):
            import_module(f"{package}.{module.name}")


def _sources(path: list[str], name: str) -> list[Path]:
    return [file for folder in path if (file := Path(folder) / f"{name}.py").exists()]
