"""Families without a predictor here: diffusers' own pipeline paints, and what does not apply is said or refused."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import diffusers
import pytest
import torch

from pipelines.errors import BadCheckpoint, BadRequest
from pipelines.events import Finished, Remark
from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder, models
from pipelines.models.whole import KINDS
from pipelines.painting import conditions, expected
from pipelines.pictures import to_pictures
from pipelines.tasks import run
from pipelines.tasks.text_to_image import TextToImage
from tests.accounting import Accounting, host, result_of
from tests.tiny.checkpoints import z_image

ASKED = TextToImage(model="whole", prompt="a red cat", negative_prompt="a dog", steps=2, width=64, height=96, seed=5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "whole"


@pytest.fixture
def pipe(folder: Path) -> diffusers.DiffusionPipeline:
    return z_image(folder)


@pytest.fixture
def spec(folder: Path, pipe: diffusers.DiffusionPipeline) -> Iterator[ModelSpec]:
    yield models.add("whole", load_folder(folder, "whole"))
    models.remove("whole")


def painted(request: TextToImage, memory: Memory) -> list[bytes]:
    events = [each for each in run(request, memory) if isinstance(each, Finished)]
    return [each.painted.picture.tobytes() for each in events if each.painted.picture]


def test_pictures_are_those_of_the_pipeline_itself(spec: ModelSpec, pipe: diffusers.DiffusionPipeline) -> None:
    with torch.inference_mode():
        theirs = pipe(
            "a red cat", negative_prompt="a dog", width=64, height=96, num_inference_steps=2, output_type="pt",
            generator=torch.Generator().manual_seed(5),
        ).images  # fmt: skip
    assert painted(ASKED, host()) == [to_pictures(theirs * 2 - 1)[0].tobytes()]


def test_picture_k_is_that_of_its_own_seed_also_after_another(spec: ModelSpec) -> None:
    memory = host()
    batch = painted(ASKED.model_copy(update={"count": 2}), memory)
    assert batch == [painted(ASKED.model_copy(update={"seed": seed}), memory)[0] for seed in (5, 6)]
    assert batch[0] != batch[1] and all(each.lent == 0 for each in memory.residents())


def test_it_says_that_methods_are_its_own_and_learns_what_it_costs(spec: ModelSpec) -> None:
    memory = host()
    remarks = [each.text for each in run(ASKED, memory) if isinstance(each, Remark)]
    assert len(remarks) == 1 and "sampler, schedule, guidance" in remarks[0] and "own pipeline" in spec.summary
    assert expected(ASKED, memory).seconds is not None
    assert spec.parts() == (spec.net,)


def test_it_is_lent_like_any_part(spec: ModelSpec) -> None:
    away = Memory(Accounting())
    assert painted(ASKED, away) == painted(ASKED, host())
    assert away.used() == pytest.approx(away.weight(spec.net), rel=0.01)  # and what networks reckon out for themselves


def test_other_tasks_refuse_it_in_a_sentence(spec: ModelSpec) -> None:
    with pytest.raises(BadRequest, match="own pipeline, which paints from words only"):
        result_of(conditions(ASKED, spec, host()))


def test_a_size_that_the_pipeline_refuses_is_a_sentence(spec: ModelSpec) -> None:
    with pytest.raises(BadRequest, match="refuses"):
        painted(ASKED.model_copy(update={"width": 66}), host())


@pytest.mark.parametrize("damage", ["code", "cut off"])
def test_a_bad_folder_is_refused(damage: str, folder: Path, pipe: diffusers.DiffusionPipeline) -> None:
    index, net = folder / "model_index.json", folder / "transformer" / "diffusion_pytorch_model.safetensors"
    if damage == "code":
        index.write_text(json.dumps(json.loads(index.read_text()) | {"transformer": ["own_code", "Painter"]}))
    if damage == "cut off":
        net.write_bytes(net.read_bytes()[:-100])
    with pytest.raises(BadCheckpoint):
        load_folder(folder, "whole")


@pytest.mark.parametrize("kind", KINDS)
def test_every_pipeline_that_is_named_takes_what_it_is_given(kind: str) -> None:
    taken = set(inspect.signature(getattr(diffusers, kind).__call__).parameters)
    assert {"prompt", "width", "height", "num_inference_steps", "generator", "output_type"} <= taken
