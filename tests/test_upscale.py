"""Upscaling through the task, on toys of the real classes: sizes, transparency, evidence, seams, sentences."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.errors import BadCheckpoint, BadRequest, StudioError
from pipelines.events import Finished, Painted, Progress, Remark, Result
from pipelines.evidence import residual
from pipelines.job import rest
from pipelines.memory import Memory
from pipelines.models import ModelSpec, models
from pipelines.models.compact import Compact, compact_part, load_compact
from pipelines.needs import work_of
from pipelines.painting import expected
from pipelines.shelf import FolderShelf
from pipelines.tasks import parse, run
from pipelines.tasks.upscale import BYTES
from pipelines.training.upscale import save_compact
from pipelines.types import Path as Way
from pipelines.upscalers import upscalers
from pipelines.upscalers.compact import Compact as Compacting
from pipelines.upscalers.compact import stages
from pipelines.upscalers.inverse import descended
from tests.accounting import result_of

QUICK = {"task": "upscale", "model": "toy", "steps": 3, "seed": 5, "prompt": "a cat", "sampler": "ddim", "times": 2}
QUICK["upscaler"] = "lanczos"
NAMES = sorted(
    {*upscalers, "compact"} - {"released", "one_step"}
)  # its weights, of which there are toys here, may not be trained yet; two have tests of their own


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compact network of random weights, in the place of the studio's."""
    torch.manual_seed(1)
    net = Compact(8, 1)
    for each in net.parameters():
        each.data.normal_(0, 0.1)
    save_compact(net, tmp_path / "compact.safetensors")
    part = compact_part(tmp_path / "compact.safetensors")
    monkeypatch.setattr("pipelines.models.compact.compact_part", lambda: part)
    monkeypatch.setattr(upscalers, "_entries", {**upscalers, "compact": Compacting})
    return tmp_path / "compact.safetensors"


def picture(width: int = 40, height: int = 30, mode: str = "RGB") -> Image.Image:
    y, x = np.mgrid[:height, :width] / 9
    levels = np.stack([np.sin(x + y), np.cos(x - y), np.sin(2 * x), np.sign(np.sin(y))], -1)
    return Image.fromarray((127 + 120 * levels).astype(np.uint8)).convert(mode)


def painted(memory: Memory, shelf: FolderShelf, start: Image.Image, **values: object) -> Result[object]:
    return result_of(run(parse({**QUICK, "source": shelf.put(start), **values}), memory, shelf))  # type: ignore[return-value]


def only(result: Result[object]) -> Image.Image:
    (one,) = result.pictures
    assert isinstance(one, Painted) and one.picture is not None
    return one.picture


@pytest.mark.parametrize("size", [(1, 1), (3, 300), (40, 30)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_every_method_gives_the_size_that_was_asked_for(
    toy: ModelSpec, weights: Path, memory: Memory, shelf: FolderShelf, name: str, size: tuple[int, int]
) -> None:
    result = painted(memory, shelf, picture(*size), upscaler=name, times=3, steps=1)
    assert only(result).size == (3 * size[0], 3 * size[1])
    assert result.remarks[0].endswith(f"became {3 * size[0]} x {3 * size[1]}.")


@pytest.mark.parametrize("name", ["bicubic", "lanczos", "compact"])
def test_a_ribbon_and_a_large_picture_are_enlarged_too(
    toy: ModelSpec, weights: Path, memory: Memory, shelf: FolderShelf, name: str
) -> None:
    assert only(painted(memory, shelf, picture(3, 5000), upscaler=name, times=2)).size == (6, 10_000)
    assert only(painted(memory, shelf, picture(700, 500, "RGBA"), upscaler=name, times=2)).size == (1400, 1000)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_request_gives_the_same_bytes(
    toy: ModelSpec, weights: Path, memory: Memory, shelf: FolderShelf, name: str
) -> None:
    first, second = (only(painted(memory, shelf, picture(), upscaler=name)) for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("name", ["lanczos", "compact", "latent_tiles"])
def test_grey_stays_grey_and_clear_stays_clear(
    toy: ModelSpec, weights: Path, memory: Memory, shelf: FolderShelf, name: str, mode: str
) -> None:
    source = picture(mode=mode)
    result = only(painted(memory, shelf, source, upscaler=name))
    assert result.mode == mode
    if mode == "RGBA":
        wanted = source.getchannel("A").resize(result.size, Image.Resampling.LANCZOS)
        assert result.getchannel("A").tobytes() == wanted.tobytes()


def test_colours_nobody_saw_do_not_bleed_over_an_edge(memory: Memory, shelf: FolderShelf, toy: ModelSpec) -> None:
    levels = np.zeros((20, 20, 4), np.uint8)
    levels[:, :10] = 255, 0, 0, 255
    levels[:, 10:] = 0, 255, 0, 0  # a green that cannot be seen
    result = np.asarray(only(painted(memory, shelf, Image.fromarray(levels), times=4)))
    assert result[..., 1].max() == 0 and result[..., 0].min() == 255


def test_the_longest_edge_may_be_named(memory: Memory, shelf: FolderShelf, toy: ModelSpec) -> None:
    assert only(painted(memory, shelf, picture(40, 30), edge=101)).size == (101, 76)


@pytest.mark.parametrize(
    ("values", "size", "sentence"),
    [
        ({"edge": 40}, (40, 30), "^Longest edge: that of the picture is 40 pixels already"),
        ({"times": 8}, (1100, 1000), "^Times: the result would have 8800 x 8000"),
        ({"times": 5}, (4, 4), "^Times: "),
        ({"upscaler": "lanzos"}, (4, 4), "Did you mean 'lanczos'"),
        ({"source": ""}, (4, 4), "^Picture: choose one"),
        ({"upscaler": "latent_tiles", "model": "nix"}, (4, 4), "no model called"),
    ],
    ids=lambda each: str(each)[:30],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, values: dict[str, object], size: tuple[int, int], sentence: str
) -> None:
    with pytest.raises(StudioError, match=sentence):
        painted(memory, shelf, picture(*size), **values)


def test_several_pictures_become_what_each_becomes_alone_though_one_cannot(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    sources = [picture(40, 30), picture(900, 900, "L"), picture(20, 25)]
    names = [shelf.put(each) for each in sources]
    request = parse({**QUICK, "source": names[0], "more": names[1:], "edge": 600})
    events = list(run(request, memory, shelf))
    made = [event.painted for event in events if isinstance(event, Finished)]
    assert [each.request.source for each in made] == [names[0], names[2]]  # type: ignore[attr-defined]
    alone = [only(painted(memory, shelf, sources[k], edge=600)) for k in (0, 2)]
    assert [each.picture.tobytes() for each in made] == [each.tobytes() for each in alone]  # type: ignore[union-attr]
    (remark,) = [event.text for event in events if isinstance(event, Remark)]
    assert remark.startswith("Picture 2 of 3 was left out. Longest edge: ")


def test_where_none_of_several_can_be_enlarged_it_is_said_why(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    other = shelf.put(picture(41, 31))
    with pytest.raises(StudioError, match="Longest edge"):
        painted(memory, shelf, picture(), more=[other], edge=20)


def test_a_job_that_was_cut_off_goes_on_with_the_pictures_that_are_left(shelf: FolderShelf, toy: ModelSpec) -> None:
    names = [shelf.put(picture(edge, 9)) for edge in (9, 10, 11)]
    request = parse({**QUICK, "source": names[0], "more": names[1:]})
    left = rest(request, 1)
    assert left is not None and left.sources() == tuple(names[1:])  # type: ignore[attr-defined]
    assert rest(request, 0) == request and rest(request, 3) is None


def test_what_it_will_cost_is_learned_for_each_method_and_grows_with_the_pictures(
    toy: ModelSpec, weights: Path, memory: Memory, shelf: FolderShelf
) -> None:
    one, two = shelf.put(picture(70, 50)), shelf.put(picture(50, 70))
    request = parse({**QUICK, "source": one, "upscaler": "compact", "times": 8})
    before = expected(request, memory, shelf)
    painted(memory, shelf, picture(70, 50), upscaler="compact", times=8)
    after = expected(request, memory, shelf)
    both = expected(request.model_copy(update={"more": (two,)}), memory, shelf)
    assert after.seconds and both.seconds == pytest.approx(2 * after.seconds)
    assert before.bytes == after.bytes == both.bytes > BYTES * 560 * 400
    assert expected(parse({**QUICK, "source": one}), memory, shelf).bytes == BYTES * 140 * 100
    with pytest.raises(BadRequest, match="choose one"):
        expected(parse(QUICK), memory, shelf)


def test_weights_that_are_missing_or_damaged_are_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="no weights yet"):
        compact_part(tmp_path / "none.safetensors")
    net = Compact(8, 1)
    save_compact(net, tmp_path / "cut.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:-9])
    with pytest.raises(BadCheckpoint):
        compact_part(tmp_path / "cut.safetensors")
    with pytest.raises(BadCheckpoint, match="damaged"):
        load_compact(tmp_path / "cut.safetensors")


def test_an_untrained_compact_network_interpolates() -> None:
    pixels = torch.rand(1, 3, 9, 7) * 2 - 1
    plain = torch.nn.functional.interpolate(pixels, scale_factor=4.0, mode="bicubic")
    assert torch.allclose(Compact(8, 1)(pixels, 4, 0.5), plain)


@pytest.mark.parametrize(("times", "taken"), [(2, [2]), (3, [4]), (4, [4]), (8, [4, 2]), (16, [4, 4]), (1, [])])
def test_the_network_is_asked_no_more_often_than_needed(times: int, taken: list[int]) -> None:
    assert list(stages((10, 7), (10 * times, 7 * times))) == taken


def test_the_compact_network_gives_the_same_on_tiles_and_counts_them(
    toy: ModelSpec, weights: Path, memory: Memory, shelf: FolderShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = picture(100, 70)
    whole = np.asarray(only(painted(memory, shelf, source, upscaler="compact")), int)
    monkeypatch.setattr("pipelines.upscalers.compact.SIDE", 52)
    request = parse({**QUICK, "source": shelf.put(source), "upscaler": "compact"})
    events = list(run(request, memory, shelf))
    parts = np.asarray(only(painted(memory, shelf, source, upscaler="compact")), int)
    assert np.abs(parts - whole).max() <= 1  # a level, where rounding decides
    assert [event.step for event in events if isinstance(event, Progress)] == list(range(1, 7))


def test_what_inverse_gives_is_the_picture_again_when_shrunk(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    source = picture(64, 48)
    result = painted(memory, shelf, source, upscaler="inverse", times=4)
    assert residual(only(result), source) < 1e-3


def test_latent_tiles_follow_the_prompt_and_the_creativity(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    def asked(prompt: str, creativity: float) -> np.ndarray:
        how = {"name": "latent_tiles", "knobs": {"creativity": creativity}}
        return np.asarray(only(painted(memory, shelf, picture(), upscaler=how, prompt=prompt)), int)

    assert (asked("a cat", 0.9) != asked("the sea at night", 0.9)).any()
    assert (asked("a cat", 0.9) != asked("a cat", 0.1)).any()


def test_a_model_that_paints_under_masks_is_refused(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    models.replace("toy", replace(toy, inpaints=True))
    with pytest.raises(BadRequest, match="under masks"):
        painted(memory, shelf, picture(), upscaler="latent_tiles")


def test_the_work_is_that_of_a_tile_whatever_the_size(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    painted(memory, shelf, picture(), upscaler="latent_tiles", steps=1)  # so that there is something to expect by
    small, large = (
        parse({**QUICK, "source": shelf.put(picture(edge, edge)), "upscaler": "latent_tiles"}) for edge in (90, 400)
    )
    assert work_of(small, memory, shelf).pixels == work_of(large, memory, shelf).pixels > 1
    beside = [expected(each, memory, shelf).bytes - BYTES * edge**2 for each, edge in ((small, 180), (large, 800))]
    assert beside[0] == beside[1] > 0
    assert large.areas(shelf) > 4 * small.areas(shelf)  # type: ignore[attr-defined]


def test_red_diff_arrives_where_evidence_and_model_are_in_balance() -> None:
    """y = first coordinate, seen exactly; the model's data are N(m, s^2), whose x0 is known."""
    m, s, sigmas = torch.tensor([[[[0.4]], [[-0.7]]]]), 0.1, torch.linspace(1, 0, 401)
    seen = torch.tensor([[[[1.0]], [[0.0]]]])
    mask = torch.tensor([[[[1.0]], [[0.0]]]])
    noise = torch.Generator().manual_seed(0)
    walk = descended(
        lambda x, sigma: (s**2 * x + sigma**2 * m) / (s**2 + sigma**2),
        lambda mu: mask * (seen - mu),
        torch.zeros(1, 2, 1, 1),
        sigmas,
        Way(noise=lambda like: torch.randn(like.shape, generator=noise)),
        0.25,
    )
    mu = result_of(walk)
    assert abs(float(mu[0, 1]) + 0.7) < 0.1  # what nobody saw is as the model believes
    assert 0.8 < float(mu[0, 0]) < 1.02  # what was seen stays near it
