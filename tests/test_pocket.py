"""The built-in model as it ships: its qualities, its preview decoder, and its adapters."""

import numpy as np
import pytest
import torch

from pipelines.echoing import own_fast
from pipelines.material import sample
from pipelines.models import models
from pipelines.models.adapters import adapters
from pipelines.previews import looking
from pipelines.shelf import NoShelf
from pipelines.tasks import run
from pipelines.tasks.edit import Edit
from pipelines.tasks.personalize import Personalize
from pipelines.tasks.text_to_image import TextToImage
from pipelines.training.autoencoder import decibels, to_pixels
from pipelines.training.scenes import draw, sample_scene, stream
from studio.presets import at_quality, fitted, quality_of
from tests.accounting import host, result_of

ASKED = {"prompt": "a panda in the snow", "seed": 1}


@pytest.mark.parametrize(
    ("quality", "steps", "adapter"),
    [("Instant", 4, "pocket-4-steps"), ("2 steps", 2, "pocket-2-steps"), ("1 step", 1, "pocket-1-step")],
)
def test_few_steps_are_as_many_evaluations_by_an_adapter_that_ships(quality: str, steps: int, adapter: str) -> None:
    spec = models["pocket"]
    request = fitted(TextToImage(**ASKED), spec, quality)
    assert isinstance(request, TextToImage) and quality_of(request, spec) == quality
    assert request.evaluations() == steps and [each.name for each in request.adapters] == [adapter]
    assert adapter in adapters and own_fast(spec, steps) == adapter
    memory = host()
    few, plain = (
        np.asarray(result_of(run(each, memory, NoShelf())).pictures[0].picture, int)
        for each in (request, request.model_copy(update={"adapters": ()}))
    )
    assert abs(few - plain).mean() > 2  # levels; 0 where the adapter is not worn


def test_an_edit_in_few_steps_is_guided_within_the_adapter_and_by_its_own_default_again_afterwards() -> None:
    spec = models["pocket"]
    usual = fitted(Edit(shown="a cat", prompt="a dog"), spec)
    few = at_quality(usual, spec, "1 step")
    assert (usual.guidance.knobs["scale"], few.guidance.knobs["scale"]) == (2.0, 1.0)
    assert quality_of(few, spec) == "1 step" and at_quality(few, spec, "Balanced") == usual


def test_what_pocket_knows_is_shown_in_four_steps_and_few_steps_are_learned_in_about_as_many() -> None:
    spec = models["pocket"]
    drafted = sample(Personalize(word="zorp"), spec, "a cat")
    assert drafted.steps == 4 and [each.name for each in drafted.adapters] == ["pocket-4-steps"]
    assert own_fast(spec, 8) == "pocket-4-steps" and own_fast(models["pocket-small"], 4) == ""


def test_previews_of_the_built_in_model_are_half_its_size_and_near_the_picture() -> None:
    spec, memory = models["pocket"], host()
    pixels = to_pixels([draw(sample_scene(stream("held_out", 4)))])
    with memory.use(spec.vae) as vae, torch.inference_mode():
        latents = spec.encode(vae, pixels)
    with looking(spec, memory) as look:
        seen = look(latents)
    assert seen.size == (128, 128)
    half = torch.nn.functional.interpolate(pixels, size=128, mode="area")
    assert decibels(to_pixels([seen]), half) > 24
