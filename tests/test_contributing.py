"""The solver of CONTRIBUTING.md, as a newcomer adds it: one file, and it is in form, API, metadata and tests."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import gradio as gr
import pytest

import pipelines.samplers
from pipelines import grids
from pipelines.__main__ import listed
from pipelines.events import Finished
from pipelines.models import ModelSpec
from pipelines.pictures import png, recipe
from pipelines.registry import discover
from pipelines.samplers import samplers
from pipelines.tasks import parse, run, tasks
from pipelines.tasks.text_to_image import TextToImage
from studio.api import described, parameters, signature
from studio.form import Form
from tests.accounting import host

ROOT = Path(__file__).parents[1]
NAME = "midpoint"
PLUGIN = """
import pipelines.samplers
from pipelines.registry import discover
pipelines.samplers.__path__.append({folder!r})
discover("pipelines.samplers", [{folder!r}])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the file that CONTRIBUTING.md shows, and nothing else."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = re.search(r"`pipelines/samplers/(\w+)\.py`:\n\n```python\n(.*?)```", text, re.DOTALL)
    assert shown and shown[1] == NAME
    folder = tmp_path_factory.mktemp("newcomer")
    (folder / f"{NAME}.py").write_text(shown[2], encoding="utf-8")
    return folder


@pytest.fixture
def added(folder: Path) -> Iterator[None]:
    """The file found as those of the package are, for one test."""
    pipelines.samplers.__path__.append(str(folder))
    importlib.invalidate_caches()
    discover("pipelines.samplers", [str(folder)])
    yield
    samplers.remove(NAME)
    del sys.modules[f"pipelines.samplers.{NAME}"]
    pipelines.samplers.__path__.remove(str(folder))


def test_nobody_knew_it_before() -> None:
    assert NAME not in samplers


def test_it_is_in_the_form_and_among_the_axes(added: None) -> None:
    form = Form(TextToImage)
    with gr.Blocks():
        form.draw(["sampler"])
    sampler = form.controls["sampler"]
    assert ("Midpoint", NAME) in sampler.choices  # type: ignore[attr-defined]
    assert NAME in grids.names_of(TextToImage, "sampler")


def test_it_is_in_the_api_and_the_list(added: None) -> None:
    task = tasks["text_to_image"]
    assert "sampler" in signature(parameters(task.request)).parameters and "sampler" in described(task)
    assert parse({"task": "text_to_image", "sampler": NAME}).sampler.name == NAME  # type: ignore[attr-defined]
    (entry,) = (each for each in listed()["samplers"] if each["name"] == NAME)
    assert entry["summary"].startswith("Looks halfway ahead")


def test_it_paints_and_the_picture_says_so(added: None, toy: ModelSpec) -> None:
    request = parse({"task": "text_to_image", "model": "toy", "width": 64, "height": 64, "steps": 3, "sampler": NAME})
    (done,) = (event.painted for event in run(request, host()) if isinstance(event, Finished))
    again = parse(recipe(BytesIO(png(done))))
    assert again.sampler.name == NAME and again == done.request  # type: ignore[attr-defined]


def test_the_tests_of_all_samplers_hold_it_to_what_it_declares(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "newcomer.py").write_text(PLUGIN.format(folder=str(folder)))
    command = ["-m", "pytest", "-v", "-p", "newcomer", "-p", "no:cacheprovider", "tests/test_samplers.py", "-k", NAME]
    paths = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **paths}
    )
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 3  # type: ignore[index]
