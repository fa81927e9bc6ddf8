"""Grids: axes as people type them, cells that are ordinary requests, figures that are true, and going on."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from pipelines import grids
from pipelines.distances import distance, gmsd
from pipelines.errors import BadRequest, StudioError
from pipelines.events import Done, Finished
from pipelines.job import left_of, rest
from pipelines.library import Library
from pipelines.models import ModelSpec
from pipelines.runner import Runner
from pipelines.tasks import parse, run
from pipelines.tasks.compare import Compare, Refused
from pipelines.tasks.text_to_image import TextToImage
from tests.accounting import host

TOY = {"model": "toy", "width": 64, "height": 64, "steps": 2, "seed": 5, "prompt": "a red cat"}
NO_Y = {"y": "", "y_values": ""}


def grid(**values: object) -> Compare:
    return parse({"task": "compare", **TOY, **values})  # type: ignore[return-value]


def column(knob: str, text: str) -> tuple[str, ...]:
    return grids.axis(TextToImage, knob, text).values


@pytest.mark.parametrize(
    ("knob", "text", "values"),
    [
        ("steps", "5, 10,20", ("5", "10", "20")),
        ("steps", "1-10:3", ("1", "4", "7", "10")),
        ("steps", "3-1", ("3", "2", "1")),
        ("seed", "7-9, 40", ("7", "8", "9", "40")),
        ("seed", "4294967294-4294967295", ("4294967294", "4294967295")),
        ("guidance.scale", "1-2:.5", ("1", "1.5", "2")),
        ("sampler.eta", "0-1[5]", ("0", "0.25", "0.5", "0.75", "1")),
        ("adapters.weight", "-1 - 1[3]", ("-1", "0", "1")),
        ("sampler", "euler, heun, euler", ("euler", "heun")),
        ("accelerators", "none, sada, sada+todo", ("none", "sada", "sada+todo")),
        ("prompt", 'cat, "dog, sleeping"', ("cat", "dog, sleeping")),
        ("prompt", "1-3, 4-5", ("1-3", "4-5")),
        ("negative_prompt", "fog\nrain", ("fog", "rain")),
    ],
)
def test_an_axis_reads_what_people_type(knob: str, text: str, values: tuple[str, ...]) -> None:
    assert column(knob, text) == values


def test_every_knob_of_every_method_is_an_axis_and_has_a_word() -> None:
    known = grids.knobs_of(TextToImage)
    for path in ("model", "prompt", "seed", "sampler", "guidance.scale", "schedule", "vae", "adapters.weight"):
        assert known[path]
    for name in ("samplers", "schedules"):
        registry = grids.registry_of(TextToImage.model_fields[name[:-1]])
        assert registry
        assert all(f"{name[:-1]}.{knob}" in known for method in registry.values() for knob in method.model_fields)


def test_cells_are_ordinary_requests_in_reading_order() -> None:
    request = grid(
        x="sampler", x_values="euler, ddim", y="sampler.eta", y_values="0, 1", z="prompt", z_values="cat, dog"
    )
    made = request.cells()
    assert [(each.sheet, each.row, each.column) for each in made] == [
        (k, j, i) for k in range(2) for j in range(2) for i in range(2)
    ]
    assert all(isinstance(each.request, TextToImage) and each.request.seed == 5 for each in made)
    assert [each.request.sampler.knobs.get("eta") for each in made[:4]] == [None, 0.0, None, 1.0]
    assert made[4].request.prompt == "a red dog"
    assert len(request.wanted()) == 6  # euler has no eta: its two rows are one picture


def test_axes_of_adapters_accelerators_and_models() -> None:
    (_, other) = grid(x="accelerators", x_values="none, sada+faster", **NO_Y).cells()
    assert [each.name for each in other.request.accelerators] == ["sada", "faster"]
    worn = grid(adapters=["fox:0.5", "owl"], x="adapters.weight", x_values="0.2, 0.4").cells()
    assert [[str(each) for each in cell.request.adapters] for cell in worn] == [
        ["fox:0.2", "owl:0.2"],
        ["fox:0.4", "owl:0.4"],
    ]
    named = grid(x="adapters", x_values="none, fox:0.3+owl").cells()
    assert [[str(each) for each in cell.request.adapters] for cell in named] == [[], ["fox:0.3", "owl"]]
    faster = grid(accelerators=["sada"], x="accelerators.longest", x_values="0-2").cells()
    assert [cell.request.accelerators[0].knobs["longest"] for cell in faster] == [0, 1, 2]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"x_values": "5, many"}, "X values: steps: "),
        ({"x_values": "5, 500"}, "X values: steps: "),
        ({"x_values": " , "}, "X values: give values for Steps"),
        ({"x": "stepps"}, "X values: there is no knob called 'stepps'"),
        ({"y": "sampler", "y_values": "euler, eulr"}, "Y values: There is no sampler called 'eulr'"),
        ({"y": "prompt", "y_values": "dog, cat"}, "Y values: the first value is what the others replace"),
        ({"z": "sampler.eta", "z_values": "0, 1"}, "Z values: nothing that is chosen has the knob 'Sampler: eta'"),
        ({"y": "steps", "y_values": "1, 2"}, "Z values: two axes vary the same knob"),
        ({"x_values": "1-100", "y": "seed", "y_values": "1-100"}, "Z values: that makes 10000 pictures"),
        ({"x": "seed", "x_values": "0-4294967295"}, "X values: the range 0-4294967295 has too many values"),
        ({"y": "guidance.scale", "y_values": "1, 900"}, "Z values: scale: "),
    ],
)
def test_bad_values_are_one_sentence_that_names_the_axis(values: dict[str, str], words: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        grid(**values)
    assert str(refusal.value).casefold().startswith(words.casefold())
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 300


def test_every_cell_is_the_picture_its_request_paints_alone_with_true_figures(toy: ModelSpec) -> None:
    memory = host()
    request = grid(x="steps", x_values="2, 4", y="guidance.scale", y_values="1, 3")
    events = list(run(request, memory))
    done = [event.painted for event in events if isinstance(event, Finished)]
    assert [each.request.steps for each in done] == [2, 2, 4, 4]  # the reference column comes first
    for each in done:
        once = 1 if each.request.guidance.knobs["scale"] == 1 else 2
        assert each.figures["evaluations"] == each.request.steps * once
        assert each.figures["seconds"] > 0
        (alone,) = (event.painted for event in run(each.request, memory) if isinstance(event, Finished))
        assert alone.picture and each.picture and alone.picture.tobytes() == each.picture.tobytes()
    assert request.evaluations() == sum(int(each.figures["evaluations"]) for each in done)


def test_a_cell_that_cannot_be_painted_says_so_and_the_others_go_on(toy: ModelSpec) -> None:
    events = list(run(grid(x="guidance", x_values="cfg, auto, pag"), host()))
    (refused,) = (event for event in events if isinstance(event, Refused))
    assert refused.request and refused.request.guidance.name == "auto" and "second model" in refused.text
    assert len([event for event in events if isinstance(event, Finished)]) == 2
    with pytest.raises(StudioError, match="second model"):
        list(run(grid(x="guidance", x_values="auto"), host()))


def test_a_grid_goes_on_with_what_is_left() -> None:
    request = grid(x="seed", x_values="1-3", y="steps", y_values="1, 2", reference=2)
    first = request.wanted()[:4]
    assert [each.seed for each in first] == [2, 2, 1, 3]
    more = rest(request, 4)
    assert isinstance(more, Compare) and more.wanted() == request.wanted()[4:]
    assert more.cells() == request.cells()
    again = rest(more, 1)
    assert isinstance(again, Compare) and again.wanted() == request.wanted()[5:]
    assert rest(request, 6) is None and rest(request, 0) == request


def test_a_stopped_grid_continues_without_painting_again(toy: ModelSpec, tmp_path) -> None:  # type: ignore[no-untyped-def]
    library = Library(tmp_path)
    runner = Runner(host, library)
    job = runner.submit(grid(x="steps", x_values="2, 3, 150", reference=1), "me")
    for event in job.events(timeout=60):
        if isinstance(event, Finished):
            made = sum(isinstance(each, Finished) for each in job.latest())
            if made == 2:
                runner.stop(job)
    again = runner.submit(left_of(job), "me")
    assert isinstance(again.request, Compare) and [each.steps for each in again.request.wanted()] == [150]
    ending = list(again.events(timeout=60))[-1]
    assert isinstance(ending, Done) and len(ending.result.pictures) == 1
    kept = library.album.latest("me", ["text_to_image"], 10)
    assert sorted(each.request["steps"] for each in kept) == [2, 3, 150]
    assert all(each.origin["figures"]["evaluations"] == 2 * each.request["steps"] for each in kept)
    assert all(each.seconds == each.origin["figures"]["seconds"] for each in kept)
    runner.close()
    library.close()


def noisy(picture: Image.Image, strength: float) -> Image.Image:
    levels = np.asarray(picture, np.float64) + np.random.default_rng(1).normal(0, strength, (96, 96, 3))
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


@pytest.fixture
def scene() -> Image.Image:
    ramp = np.linspace(30, 220, 96)[None, :, None] * np.ones((96, 1, 3))
    ramp[30:60, 20:70] = (200, 60, 40)
    return Image.fromarray(ramp.astype(np.uint8))


def test_psnr_and_ssim_are_those_of_scikit_image(scene: Image.Image) -> None:
    other = noisy(scene, 12)
    found = distance(scene, other)
    assert found
    one, two = (np.asarray(each, np.float64) for each in (scene, other))
    assert found.psnr == pytest.approx(peak_signal_noise_ratio(one, two, data_range=255))
    greys = [each @ (0.299, 0.587, 0.114) for each in (one, two)]
    expected = structural_similarity(
        *greys, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert found.ssim == pytest.approx(expected, abs=1e-6)


def test_gmsd_grows_with_damage_and_minds_structure_more_than_light(scene: Image.Image) -> None:
    weak, strong = distance(scene, noisy(scene, 5)), distance(scene, noisy(scene, 25))
    assert weak and strong and 0 < weak.gmsd < strong.gmsd < 0.35
    lighter = Image.fromarray((np.asarray(scene, np.float64) + 12).clip(0, 255).astype(np.uint8))
    shifted = distance(scene, lighter)
    assert shifted and shifted.psnr < distance(scene, noisy(scene, 10)).psnr and shifted.gmsd < weak.gmsd  # type: ignore[union-attr]
    grey = np.asarray(scene.convert("L"), np.float64)
    assert gmsd(grey, grey) == 0


def test_identical_pictures_and_other_sizes(scene: Image.Image) -> None:
    same = distance(scene, scene.copy())
    assert same and (same.psnr, same.ssim, same.gmsd) == (99.0, pytest.approx(1.0), 0.0)
    assert distance(scene, scene.resize((48, 48))) is None


def test_a_grid_survives_json_with_its_cells() -> None:
    request = grid(x="sampler", x_values="euler, heun", y="seed", y_values="1-3")
    assert parse(json.loads(request.to_json())).cells() == request.cells()  # type: ignore[attr-defined]
