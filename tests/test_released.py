"""Published upscalers, at toy width and of their own classes: equal to diffusers, tiled, and refused where they must be."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.errors import BadRequest
from pipelines.events import Painted
from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder, models
from pipelines.painting import expected
from pipelines.shelf import FolderShelf
from pipelines.tasks import parse, run
from tests.accounting import result_of
from tests.tiny import enlargers

KINDS = {"x4": (enlargers.x4, 4), "latent": (enlargers.latent, 2), "ldm": (enlargers.ldm, 4)}
ASKED = {"prompt": "a cat", "negative_prompt": "a dog", "steps": 2, "seed": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A checkpoint of each kind among the models, and diffusers' pipeline for it."""
    folder = tmp_path_factory.mktemp("enlargers")
    pipes = {name: make(folder / name) for name, (make, _) in KINDS.items()}
    for name in KINDS:
        models.add(name, load_folder(folder / name, name))
    yield pipes
    for name in KINDS:
        models.remove(name)


def picture(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[:height, :width] / 9
    return Image.fromarray((127 + 120 * np.stack([np.sin(x), np.cos(y), np.sin(x + y)], -1)).astype(np.uint8))


def enlarged(memory: Memory, shelf: FolderShelf, start: Image.Image, model: str, **values: object) -> Image.Image:
    request = {"task": "upscale", "upscaler": "released", "model": model, "source": shelf.put(start), **ASKED, **values}
    (result,) = result_of(run(parse(request), memory, shelf)).pictures
    assert isinstance(result, Painted) and result.picture is not None
    return result.picture


@pytest.mark.parametrize("name", list(KINDS))
def test_it_gives_what_diffusers_gives(made: dict[str, Any], memory: Memory, shelf: FolderShelf, name: str) -> None:
    times, start = KINDS[name][1], picture(64, 64)
    own = {"image": start, "num_inference_steps": 2, "generator": torch.Generator().manual_seed(3)}
    if name != "ldm":
        own |= {"prompt": "a cat", "negative_prompt": "a dog", "guidance_scale": 5.0}
    wanted = made[name](**own).images[0]
    found = enlarged(memory, shelf, start, name, times=times)
    assert found.size == wanted.size == (64 * times, 64 * times)
    assert np.abs(np.asarray(found, int) - np.asarray(wanted, int)).max() <= 1  # a level, where rounding decides


@pytest.mark.parametrize("name", list(KINDS))
@pytest.mark.parametrize("size", [(1, 1), (3, 150)], ids=str)
def test_pictures_of_any_shape_become_the_size_that_was_asked_for(
    made: dict[str, Any], memory: Memory, shelf: FolderShelf, name: str, size: tuple[int, int]
) -> None:
    found = enlarged(memory, shelf, picture(*size), name, times=3, steps=1)
    assert found.size == (3 * size[0], 3 * size[1])


def test_a_model_that_paints_is_refused_before_and_when_it_runs(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    with pytest.raises(BadRequest, match=r"^Model: .* paints; choose one that was published for enlarging"):
        enlarged(memory, shelf, picture(8, 8), "toy")
    request = parse({"task": "upscale", "upscaler": "released", "model": "toy", "source": shelf.put(picture(8, 8))})
    with pytest.raises(BadRequest, match=r"^Model: "):
        expected(request, memory, shelf)  # type: ignore[arg-type]


def test_a_model_that_enlarges_is_refused_for_painting(
    made: dict[str, Any], memory: Memory, shelf: FolderShelf
) -> None:
    for values in ({"task": "text_to_image"}, {"task": "upscale", "upscaler": "latent_tiles"}):
        named = {"source": shelf.put(picture(8, 8))} if values["task"] == "upscale" else {}
        with pytest.raises(BadRequest):
            result_of(run(parse({**values, **named, **ASKED, "model": "x4"}), memory, shelf))
