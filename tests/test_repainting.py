"""Repainting through the tasks, on toys of the real classes: what is kept is kept, and the rest is as strong as asked."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines import grounds
from pipelines.errors import BadRequest
from pipelines.events import Finished, Painted, Progress, Remark, Result
from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder, models
from pipelines.painting import expected
from pipelines.pictures import moves, opened
from pipelines.samplers import samplers
from pipelines.shelf import FolderShelf
from pipelines.tasks import parse, run
from pipelines.tasks.inpaint import Again
from pipelines.tasks.outpaint import Outpaint, sides
from tests.accounting import result_of
from tests.tiny.checkpoints import flux, sana, sd3, sdxl, stable_diffusion

TASKS = {
    "inpaint": {},
    "repaint": {"strength": 0.7},
    "outpaint": {"left": 9, "bottom": 5},
    "edit": {"shown": "a dog"},
}
QUICK = {"model": "toy", "steps": 3, "prompt": "a red cat", "seed": 11, "sampler": "ddim"}


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Toys of other kinds than the plain one: nine channels with a decoder that keeps, two text encoders, flows."""
    folder = tmp_path_factory.mktemp("families")
    stable_diffusion(folder / "nine", inpaints=True, asymmetric=True)
    made = {"xl": sdxl, "sd3": sd3, "flux": flux, "sana": sana}
    for name, make in made.items():
        make(folder / name)
    for name in ("nine", *made):
        models.add(f"toy-{name}", load_folder(folder / name, f"toy-{name}"))
    yield
    for name in ("nine", *made):
        models.remove(f"toy-{name}")


def picture(width: int = 64, height: int = 64, mode: str = "RGB") -> Image.Image:
    levels = np.random.default_rng(width).integers(0, 255, (height, width, 4), dtype=np.uint8)
    return Image.fromarray(levels).convert(mode)


def square(width: int = 64, height: int = 64) -> Image.Image:
    """A mask of the middle."""
    mask = Image.new("L", (width, height))
    mask.paste(255, (width // 4, height // 4, width - width // 4, height - height // 4))
    return mask


def painted(memory: Memory, shelf: FolderShelf, **values: object) -> Result[object]:
    with torch.inference_mode():
        return result_of(run(parse({**QUICK, **values}), memory, shelf))


def only(result: Result[object]) -> Image.Image:
    (one,) = result.pictures
    assert one.picture is not None
    return one.picture


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    """Decibels, of the range of the second."""
    span = float(other.max() - other.min())
    return 10 * float(torch.log10(span**2 / (one - other).pow(2).mean().clamp(min=1e-20)))


def ground(memory: Memory, shelf: FolderShelf, **values: object) -> tuple[object, grounds.Ground]:
    request = parse({**QUICK, **values})
    spec, sheet = models[request.model], request.sheet(shelf)  # type: ignore[attr-defined]
    frame = request.frame(shelf)  # type: ignore[attr-defined]
    with torch.inference_mode():
        return request, result_of(grounds.grounded(request, spec, memory, sheet, frame))


SIZES = [(1, 1), (37, 53), (8000, 20), (90, 64)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_any_size_comes_back_as_it_was(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, task: str, size: tuple[int, int]
) -> None:
    source = picture(*size)
    values = {"task": task, "source": shelf.put(source), "steps": 1, **TASKS[task]}
    if task != "outpaint":
        assert only(painted(memory, shelf, **values)).size == size
        return
    result = only(painted(memory, shelf, **values))
    assert result.size == (size[0] + 9, size[1] + 5)
    assert result.crop((9, 0, 9 + size[0], size[1])).tobytes() == source.tobytes()


@pytest.mark.parametrize("kind", ["toy", "toy-nine", "toy-xl", "toy-sd3", "toy-flux", "toy-sana"])
@pytest.mark.parametrize("task", ["inpaint", "edit"])
def test_outside_the_mask_no_byte_changes_and_inside_it_does(
    toy: ModelSpec, families: None, memory: Memory, shelf: FolderShelf, task: str, kind: str
) -> None:
    ways = (((200, 150), {"feather": 9, "grow": 3}), ((64, 64), {}), ((64, 64), {"feather": 0}))
    for size, settings in ways if kind == "toy" else ways[:1]:
        source, mask = picture(*size), square(*size)
        values = {"task": task, "model": kind, "source": shelf.put(source), "mask": shelf.put(mask)}
        result = painted(memory, shelf, **values, **settings, **TASKS[task])
        inside = np.asarray(mask) > 0
        if settings.get("grow"):
            y, x = np.nonzero(inside)
            inside[y.min() - 3 : y.max() + 4, x.min() - 3 : x.max() + 4] = True
        before, after = np.asarray(source), np.asarray(only(result))
        assert (before == after)[~inside].all() and (before != after)[np.asarray(mask) > 0].mean() > 0.8
        assert "0 bytes changed outside" in result.remarks[-1] and "seam energy" in result.remarks[-1]


@pytest.mark.parametrize("name", list(samplers))
def test_every_sampler_ends_at_the_source_where_it_is_pinned(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, name: str
) -> None:
    request, over = ground(
        memory, shelf, task="inpaint", source=shelf.put(picture()), mask=shelf.put(square()), sampler=name
    )
    with torch.inference_mode():
        latents = result_of(grounds.walked(request, over, 1, 1))
    kept = (over.mask == 0).expand_as(latents)
    assert float((latents - over.latents)[kept].abs().max()) < 1e-4
    assert float((latents - over.latents)[~kept].abs().mean()) > 0.05


@pytest.mark.parametrize("task", ["inpaint", "repaint", "edit"])
def test_strength_0_is_the_source(toy: ModelSpec, memory: Memory, shelf: FolderShelf, task: str) -> None:
    source = picture(70, 50, "RGBA")
    source.putalpha(255)
    result = painted(memory, shelf, **{**TASKS[task], "task": task, "source": shelf.put(source), "strength": 0})
    assert only(result).tobytes() == source.tobytes()


@pytest.mark.parametrize("schedule", ["own", "karras"])
def test_strength_1_paints_what_the_words_alone_paint(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, schedule: str
) -> None:
    words = painted(memory, shelf, task="text_to_image", width=64, height=64, schedule=schedule)
    for task in ("repaint", "inpaint"):
        over = painted(memory, shelf, task=task, source=shelf.put(picture()), strength=1, schedule=schedule)
        assert only(over).tobytes() == only(words).tobytes()


def test_a_stronger_mask_changes_more(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    source = Image.radial_gradient("L").resize((64, 64)).convert("RGB")
    stripes = np.linspace(0, 255, 8).astype(np.uint8).repeat(8)[None].repeat(64, 0)
    mask = shelf.put(Image.fromarray(stripes))
    changes = []
    for seed in range(4):
        result = only(
            painted(memory, shelf, task="inpaint", source=shelf.put(source), mask=mask, seed=seed, steps=8, feather=0)
        )
        difference = np.abs(np.asarray(result).astype(int) - np.asarray(source)).mean((0, 2))
        changes.append(difference.reshape(8, 8).mean(1))
    mean = np.mean(changes, 0)
    assert mean[0] == 0 and mean[-1] > mean[1] and np.corrcoef(np.arange(8), mean)[0, 1] > 0.7


def test_a_place_is_pinned_until_the_noise_level_of_its_strength(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = Image.fromarray(np.array([[0, 102, 204, 255]], np.uint8)).resize((64, 64), Image.Resampling.NEAREST)
    request, over = ground(memory, shelf, task="inpaint", source=shelf.put(picture()), mask=shelf.put(half), steps=12)
    seen = []

    def watched(request, spec, memory, x, sigmas, cond, uncond, path, constrain, *rest):  # type: ignore[no-untyped-def]
        for sigma in sigmas[:-1]:
            seen.append((float(sigma), (constrain(over.latents + 1, x, sigma) - over.latents)[0, 0, 0]))
        yield from ()
        return x

    monkeypatch.setattr(grounds, "paint", watched)
    result_of(grounds.walked(request, over, 1, 1))
    for sigma, free in seen:
        for column, share in ((4, 0.0), (12, 0.4), (20, 0.8), (28, 1.0)):  # of the amplitude that is noise
            assert bool(free[column]) == (share == 1 or sigma / (1 + sigma) <= share * 1.001), (sigma, share)


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_half_a_mask_is_half_as_much_noise_and_all_of_it_the_strength(toy: ModelSpec, strength: float) -> None:
    mask = torch.linspace(0, 1, 9)
    found = grounds.softened(toy, mask, strength)
    assert found[0] == 0 and float(found[-1]) == pytest.approx(strength)
    sigmas = grounds.sigma_at(toy, found[1:-1])
    whole = 1.0 if strength == 1 else float((top := grounds.sigma_at(toy, torch.tensor(strength))) / (1 + top))
    torch.testing.assert_close(sigmas / (1 + sigmas), mask[1:-1] * whole, rtol=2e-3, atol=2e-3)
    straight = SimpleNamespace(table=lambda: torch.linspace(0.001, 1, 1000), alpha=lambda sigma: 1 - sigma)
    torch.testing.assert_close(grounds.softened(straight, mask, 1.0), mask, rtol=0, atol=2e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize(("inversion", "least"), [("cycle", 40.0), ("ddim", 30.0), ("cfgpp", 30.0)])
def test_the_same_words_give_the_same_latents(memory: Memory, shelf: FolderShelf, inversion: str, least: float) -> None:
    """With Pocket: what is inverted step by step needs a network whose estimates are of pictures."""
    from pipelines.tasks.edit import edited
    from pipelines.training.scenes import draw, sample_scene, stream

    name = shelf.put(draw(sample_scene(stream("held_out", 3), "held_out"), 128, 128))
    values = {"task": "edit", "model": "pocket", "detail": 0.5, "source": name, "inversion": inversion, "steps": 8}
    request, over = ground(memory, shelf, **values, shown="a red cat")
    other, _ = ground(memory, shelf, **values, shown="a dog on a blue background")
    assert over.pixels.shape[-2:] == (128, 128)
    with torch.inference_mode():
        same, changed = (result_of(edited(each, over, 1, 1)) for each in (request, other))
    assert psnr(same, over.latents) >= least
    assert psnr(changed, over.latents) < psnr(same, over.latents) - 3


def test_an_edit_that_changes_nothing_is_the_source_but_for_rounding(memory: Memory, shelf: FolderShelf) -> None:
    source = picture(200, 300).resize((300, 200))  # more detail than any autoencoder keeps, and larger than the model
    values = {"task": "edit", "model": "pocket", "source": shelf.put(source), "detail": 0.5, "steps": 4}
    same = only(painted(memory, shelf, **values, shown="a red cat"))
    other = only(painted(memory, shelf, **values, shown="a dog on a blue background", strength=1.0))
    near, far = (np.abs(np.asarray(each, int) - np.asarray(source, int)).mean() for each in (same, other))
    assert near < 1.5 and far > 5


def test_variants_are_those_of_their_own_seeds_and_their_requests_paint_them_again(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    names = {"source": shelf.put(picture()), "mask": shelf.put(square())}
    for task in ("inpaint", "edit"):
        batch = painted(memory, shelf, task=task, count=2, **names, **TASKS[task]).pictures
        assert [one.request.source for one in batch] == [names["source"]] * 2  # type: ignore[attr-defined]
        assert batch[0].picture.tobytes() != batch[1].picture.tobytes()  # type: ignore[union-attr]
        for one in batch:
            again = only(result_of(run(one.request, memory, shelf)))  # type: ignore[type-var]
            assert again.tobytes() == one.picture.tobytes()  # type: ignore[union-attr]


def test_alpha_stays_and_what_it_leaves_open_is_a_mask(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    source = picture(64, 64, "RGBA")
    alpha = np.full((64, 64), 255, np.uint8)
    alpha[:, 40:], alpha[:, 36:40] = 0, 128
    source.putalpha(Image.fromarray(alpha))
    names = {"source": shelf.put(source)}
    kept = np.asarray(only(painted(memory, shelf, task="inpaint", mask=shelf.put(square()), **names)))
    assert (kept[..., 3] == alpha).all()
    filled = only(painted(memory, shelf, task="inpaint", **names))
    assert filled.mode == "RGB" and (np.asarray(filled)[:, :36] == np.asarray(source)[:, :36, :3]).all()
    assert (np.asarray(filled)[:, 40:] != np.asarray(source)[:, 40:, :3]).mean() > 0.8
    grown = np.asarray(only(painted(memory, shelf, task="outpaint", right=8, **names)))
    assert (grown[:, :64] == np.asarray(source)).all() and (grown[:, 64:, 3] == 255).all()


def test_an_animated_file_is_told(tmp_path: Path) -> None:
    for kind, (content, _, _) in files().items():
        assert moves(BytesIO(content)) == (kind == "animated")
    assert not moves(BytesIO(b"GIF89a"))


def files() -> dict[str, tuple[bytes, tuple[int, int], tuple[int, int, int]]]:
    """Files of odd kinds, each with the size and the upper left colour that anybody would see."""
    cmyk, turned, deep, moving = (BytesIO() for _ in range(4))
    Image.new("CMYK", (20, 30), (0, 255, 255, 0)).save(cmyk, "JPEG")
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.new("RGB", (40, 24), "blue")
    wide.paste((255, 255, 0), (0, 0, 20, 24))
    wide.save(turned, "PNG", exif=exif)
    Image.fromarray(np.full((24, 24), 0x8080, np.uint16)).save(deep, "PNG")
    frames = [Image.new("RGB", (24, 24), colour) for colour in ("red", "lime")]
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    return {
        "CMYK": (cmyk.getvalue(), (20, 30), (254, 0, 0)),
        "turned": (turned.getvalue(), (24, 40), (255, 255, 0)),
        "16 bits": (deep.getvalue(), (24, 24), (128, 128, 128)),
        "animated": (moving.getvalue(), (24, 24), (255, 0, 0)),
    }


@pytest.mark.parametrize("kind", files())
def test_files_of_odd_kinds_are_what_anybody_sees(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, kind: str
) -> None:
    content, size, colour = files()[kind]
    mask = Image.new("L", size)
    mask.paste(255, (8, 8, size[0], size[1]))
    names = {"source": shelf.put(opened(BytesIO(content))), "mask": shelf.put(mask)}
    result = only(painted(memory, shelf, task="inpaint", steps=1, **names)).convert("RGB")
    assert result.size == size
    assert max(abs(a - b) for a, b in zip(result.getpixel((0, 0)), colour, strict=True)) <= 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"task": "inpaint"}, "Picture: choose"),
        ({"task": "repaint", "source": "0" * 32}, "not here"),
        ({"task": "outpaint", "source": "x"}, "say how far"),
        ({"task": "outpaint", "source": "x", "left": 4096, "right": 4096, "top": 4096, "bottom": 4096}, "megapixels"),
        ({"task": "inpaint", "source": "x", "mask": "empty"}, "mask is empty"),
        ({"task": "edit", "source": "x", "mask": "other shape"}, "same shape"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, values: dict[str, object], words: str
) -> None:
    made = {"x": picture(), "empty": Image.new("L", (64, 64)), "other shape": Image.new("L", (64, 32), 255)}
    named = {key: shelf.put(made[value]) if value in made else value for key, value in values.items()}  # type: ignore[index]
    with pytest.raises(BadRequest, match=words) as refusal:
        painted(memory, shelf, **named)
    assert "\n" not in str(refusal.value)


def test_a_mask_of_another_size_is_scaled_and_said(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    source = picture(128, 128)
    result = painted(memory, shelf, task="inpaint", source=shelf.put(source), mask=shelf.put(square()))
    assert "was scaled" in result.remarks[0]
    assert only(result).crop((0, 0, 128, 30)).tobytes() == source.crop((0, 0, 128, 30)).tobytes()


def test_a_full_mask_has_no_seam(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    full = shelf.put(Image.new("L", (64, 64), 255))
    assert "no seam" in painted(memory, shelf, task="inpaint", source=shelf.put(picture()), mask=full).remarks[-1]


@pytest.mark.parametrize("shape", ["1:1", "16:9", "2:3"])
@pytest.mark.parametrize("size", [(64, 64), (100, 37), (37, 100)])
def test_a_picture_grows_to_a_shape(shape: str, size: tuple[int, int]) -> None:
    left, top, right, bottom = sides(Outpaint(shape=shape, top=3), size)
    width, height = size[0] + left + right, size[1] + top + bottom
    across, down = map(int, shape.split(":"))
    assert top >= 3 and abs(width * down - height * across) <= max(across, down)
    assert abs(left - right) <= 1 and abs(top - 3 - bottom) <= 1 and (left + right == 0 or top + bottom == 3)


def test_what_is_expected_is_of_the_part_that_is_painted(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    small, large = (shelf.put(picture(side, side)) for side in (64, 640))
    corner = Image.new("L", (640, 640))
    corner.paste(255, (0, 0, 20, 20))
    whole = parse({**QUICK, "task": "repaint", "source": large, "detail": 4})
    part = parse({**QUICK, "task": "inpaint", "source": large, "mask": shelf.put(corner), "margin": 8})
    assert whole.frame(shelf).scale == pytest.approx(0.4) and part.frame(shelf).scale >= 1  # type: ignore[attr-defined]
    painted(memory, shelf, task="repaint", source=small)
    costs = [expected(each, memory, shelf) for each in (part, whole)]  # type: ignore[arg-type]
    assert costs[0].seconds and costs[1].seconds and costs[0].bytes < costs[1].bytes
    assert expected(part, memory).bytes > 0  # type: ignore[arg-type]


def test_a_small_mask_is_painted_again_close_up_and_the_rest_is_kept(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    source, mask = picture(64, 64), Image.new("L", (64, 64))
    mask.paste(255, (20, 24, 40, 40))
    values = {
        **QUICK,
        "task": "inpaint",
        "source": shelf.put(source),
        "mask": shelf.put(mask),
        "count": 2,
        "close": True,
    }
    request = parse(values)
    once = parse({**values, "close": False})
    assert request.areas(shelf) > once.areas(shelf)  # type: ignore[attr-defined]
    assert Again(**request.model_dump()).frame(shelf).scale > 1.25
    told = list(run(request, memory, shelf))
    steps = [(each.picture, each.step) for each in told if isinstance(each, Progress)]
    assert [picture for picture, step in steps if step == 1] == [1, 1, 2, 2]  # two looks each
    finished = [each.painted for each in told if isinstance(each, Finished)]
    assert [each.request for each in finished] == request.with_seed().singles()  # type: ignore[attr-defined]
    inside = np.asarray(mask) > 0
    once = only(painted(memory, shelf, **{**values, "count": 1, "close": False}))
    for each in finished:
        result = np.asarray(each.picture)
        assert np.array_equal(result[~inside], np.asarray(source)[~inside])
        assert not np.array_equal(result[inside], np.asarray(source)[inside])
    assert not np.array_equal(np.asarray(finished[0].picture), np.asarray(once))


def test_what_is_transparent_is_painted_in_one_look(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    source = picture(64, 64).convert("RGBA")
    source.paste((0, 0, 0, 0), (20, 24, 40, 40))
    values = {"task": "inpaint", "source": shelf.put(source), "close": True}
    assert not parse({**QUICK, **values}).looks_again(shelf)  # type: ignore[attr-defined]
    result = np.asarray(only(painted(memory, shelf, **values)))
    assert np.array_equal(result[:20], np.asarray(source.convert("RGB"))[:20])


def test_a_walk_left_early_returns_what_was_lent(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    for task in TASKS:
        running = run(parse({**QUICK, "task": task, "source": shelf.put(picture()), **TASKS[task]}), memory, shelf)
        while not isinstance(next(running), Progress):
            pass
        running.close()
        assert all(each.lent == 0 for each in memory.residents())


def test_each_picture_is_finished_on_its_own_and_steps_are_told(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    values = {**QUICK, "task": "edit", "shown": "a dog", "inversion": "ddim", "count": 2}
    told = list(run(parse({**values, "source": shelf.put(picture())}), memory, shelf))
    steps = [(each.picture, each.step, each.steps) for each in told if isinstance(each, Progress)]
    count = steps[0][2]
    assert steps == [(k, n, count) for k in (1, 2) for n in range(1, count + 1)]
    finished = [each.painted for each in told if isinstance(each, Finished)]
    assert len(finished) == 2 and isinstance(finished[0], Painted)


@pytest.mark.parametrize(("inversion", "sampler", "said"), [("cycle", "euler", True), ("cfgpp", "euler", True), ("ddim", "euler", False), ("cycle", "ddim", False)])  # fmt: skip
def test_an_inversion_with_steps_of_its_own_says_that_it_leaves_the_sampler_aside(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, inversion: str, sampler: str, said: bool
) -> None:
    values = {"task": "edit", "shown": "a dog", "inversion": inversion, "sampler": sampler}
    with torch.inference_mode():
        told = list(run(parse({**QUICK, **values, "source": shelf.put(picture())}), memory, shelf))
    assert [each.text for each in told if isinstance(each, Remark)] == (
        [f"{inversion} has steps of its own: the sampler euler was left aside. The inversion ddim uses it."] * said
    )
