"""Requests as values: frozen, complete, the same after every journey, and clear about what is wrong with them."""

import json
from io import BytesIO

import pytest
from PIL import Image, PngImagePlugin
from pydantic import ValidationError

from pipelines.errors import BadPicture, BadRequest, UnknownName
from pipelines.events import Painted
from pipelines.method import Choice
from pipelines.pictures import RECIPE, png, recipe
from pipelines.request import SEEDS
from pipelines.tasks import parse, tasks
from pipelines.tasks.text_to_image import TextToImage

FULL = {
    "seed": 12,
    "prompt": 'ein Bär – 熊 (bold:1.2) \\ "quoted"',
    "negative_prompt": "x",
    "count": 3,
    "sampler": {"name": "heun", "knobs": {"churn": 4}},
}


@pytest.mark.parametrize("name", list(tasks))
def test_a_request_is_the_same_after_json(name: str) -> None:
    request = tasks[name].request(
        **{key: value for key, value in FULL.items() if key in tasks[name].request.model_fields}
    )
    assert parse(json.loads(request.to_json())) == request


@pytest.mark.parametrize("name", list(tasks))
def test_a_request_is_the_same_after_a_png(name: str) -> None:
    request = tasks[name].request(
        **{key: value for key, value in FULL.items() if key in tasks[name].request.model_fields}
    )
    assert parse(recipe(BytesIO(png(Painted(Image.new("RGB", (8, 8)), request))))) == request


def test_a_request_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        TextToImage().seed = 3  # type: ignore[misc]


def test_a_bare_name_stands_for_the_method_with_every_knob_spelled_out() -> None:
    assert TextToImage(sampler="heun").sampler == Choice(name="heun", knobs={"churn": 0.0, "churn_noise": 1.003})
    assert TextToImage().guidance.knobs["scale"] == 5.0


def test_a_seed_is_drawn_once_and_kept_where_there_is_one() -> None:
    drawn = TextToImage().with_seed()
    assert drawn.seed is not None and drawn.with_seed() is drawn
    assert TextToImage(seed=0).with_seed().seed == 0
    assert TextToImage().with_seed().seed != drawn.seed


def test_pictures_of_one_request_count_their_seeds_up_and_around() -> None:
    singles = TextToImage(seed=SEEDS - 1, count=3).singles()
    assert [(each.seed, each.count) for each in singles] == [(SEEDS - 1, 1), (0, 1), (1, 1)]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": 0}, "Steps: "),
        ({"steps": "many"}, "Steps: "),
        ({"width": 65}, "Width: "),
        ({"width": 1e9}, "Width: "),
        ({"prompt": "x" * 10_000}, "Prompt: "),
        ({"seed": -1}, "Seed: "),
        ({"seed": 2**32}, "Seed: "),
        ({"guidance": {"name": "cfg", "knobs": {"scale": 900}}}, "Scale: "),
        ({"guidance": {"name": "cfg", "knobs": {"strength": 1}}}, "strength: "),
        ({"nonsense": 1}, "nonsense: "),
        ({"sampler": 7}, "Sampler: "),
        ({"sampler": {"name": "euler", "path": "/etc"}}, "Sampler: "),
    ],
)
def test_a_bad_field_is_named_in_one_sentence(values: dict[str, object], words: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        parse({"task": "text_to_image", **values})
    assert str(refusal.value).startswith(words)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 300


@pytest.mark.parametrize("values", [{}, [], "text_to_image", {"task": 3}, {"prompt": "x"}, None])
def test_what_is_not_a_request_is_refused(values: object) -> None:
    with pytest.raises(BadRequest):
        parse(values)  # type: ignore[arg-type]


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="'dpmpp_2m'"):
        parse({"task": "text_to_image", "sampler": "dpmp_2m"})
    with pytest.raises(UnknownName, match="text_to_image"):
        parse({"task": "text_to_imag"})


def _png(text: dict[str, str]) -> BytesIO:
    file, chunks = BytesIO(), PngImagePlugin.PngInfo()
    for key, value in text.items():
        chunks.add_itxt(key, value)
    Image.new("RGB", (4, 4)).save(file, "PNG", pnginfo=chunks)
    return file


@pytest.mark.parametrize(
    "text", [{}, {"parameters": "a cat"}, {RECIPE: "not json"}, {RECIPE: "[1]"}, {RECIPE: "[" * 100_000}]
)
def test_a_picture_without_a_sound_recipe_says_so(text: dict[str, str]) -> None:
    with pytest.raises(BadPicture):
        recipe(_png(text))


def test_hostile_values_in_a_recipe_are_refused_as_in_any_request() -> None:
    values = recipe(_png({RECIPE: json.dumps({"task": "text_to_image", "model": "../../etc/passwd", "steps": 10**9})}))
    with pytest.raises(BadRequest, match="Steps"):
        parse(values)
