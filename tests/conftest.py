"""Fixtures that more than one test module needs."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.models import ModelSpec, models
from pipelines.models.stable_diffusion import load_folder
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
