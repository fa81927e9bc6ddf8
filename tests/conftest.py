"""Fixtures that more than one test module needs."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder, models
from pipelines.models.adapters import adapters
from pipelines.shelf import FolderShelf
from tests.accounting import host
from tests.tiny.checkpoints import stable_diffusion


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one Stable Diffusion checkpoint of random weights at toy width, called toy."""
    folder = tmp_path_factory.mktemp("models")
    stable_diffusion(folder / "toy")
    return folder


@pytest.fixture
def toy(toy_folder: Path) -> Iterator[ModelSpec]:
    """The toy checkpoint, registered for one test; the page that other tests drive may have one of that name."""
    elsewhere = models.remove("toy") if "toy" in models else None
    yield models.add("toy", load_folder(toy_folder / "toy", "toy", title="Toy"))
    models.remove("toy")
    if elsewhere:
        models.add("toy", elsewhere)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[FolderShelf]:
    """An empty shelf; adapters that a test leaves in its folder are forgotten after it."""
    yield FolderShelf(tmp_path / "shelf")
    for name in [name for name, spec in adapters.items() if spec.path.is_relative_to(tmp_path)]:
        adapters.remove(name)


@pytest.fixture(scope="module")
def memory() -> Memory:
    """A memory of the CPU, in float32, for one module."""
    return host()
