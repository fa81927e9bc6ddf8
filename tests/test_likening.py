"""A thing takes on the look of another: colours by their map, features by their energy, the task on a toy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.errors import BadRequest, StudioError
from pipelines.events import Progress
from pipelines.likening import moments, recoloured, unlike
from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder, models
from pipelines.needs import work_of
from pipelines.shelf import FolderShelf
from pipelines.tasks import parse, run
from tests.accounting import result_of
from tests.test_moves import box, picture
from tests.tiny.checkpoints import sd3

QUICK = {"task": "appearance", "model": "toy", "steps": 4, "seed": 3, "depth": 0.6}


def likened(memory: Memory, shelf: FolderShelf, **values: object) -> Image.Image:
    given = {key: shelf.put(value) if isinstance(value, Image.Image) else value for key, value in values.items()}
    (one,) = result_of(run(parse({**QUICK, **given}), memory, shelf)).pictures
    assert one.picture is not None
    return one.picture


def coloured(mean: tuple[int, int, int], mixed: np.ndarray, seed: int) -> Image.Image:
    """Pixels whose colours have that mean and the covariance of `mixed` (3, 3) times its transpose."""
    drawn = np.random.default_rng(seed).normal(size=(64, 64, 3)) @ mixed.T + mean
    return Image.fromarray(drawn.round().clip(0, 255).astype(np.uint8))


def test_colours_take_on_mean_and_covariance_of_the_others_and_only_under_the_mask() -> None:
    here = coloured((90, 120, 150), np.diag([20.0, 10, 6]), 1)
    there = coloured((160, 80, 100), np.array([[12.0, 0, 0], [6, 9, 0], [0, 5, 15]]), 2)
    mask = np.asarray(box(8, 8, 40, 40))
    result = recoloured(here, mask, there, np.asarray(box(0, 0, 64, 64)))
    inside = np.asarray(result, float)[mask > 0]
    wanted = np.asarray(there, float).reshape(-1, 3)
    assert np.abs(inside.mean(0) - wanted.mean(0)).max() < 1.5
    assert np.abs(np.cov(inside.T) - np.cov(wanted.T)).max() < 0.1 * np.cov(wanted.T).max()
    assert (np.asarray(result)[mask == 0] == np.asarray(here)[mask == 0]).all()


@pytest.mark.parametrize("size", [(1, 1), (5, 1)])
def test_a_few_pixels_of_one_colour_are_shifted(size: tuple[int, int]) -> None:
    here, there = Image.new("RGB", size, (10, 20, 30)), Image.new("RGB", size, (200, 100, 50))
    whole = np.full(size[::-1], 255, np.uint8)
    assert recoloured(here, whole, there, whole).getpixel((0, 0)) == (200, 100, 50)


def test_the_energy_falls_towards_the_look_of_the_reference() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(1, 6, 8, 8, generator=generator)
    other = torch.randn(1, 6, 8, 8, generator=generator) + torch.tensor([3.0, -2, 0, 1, 0, 2]).view(1, 6, 1, 1)
    here, there = torch.zeros(1, 1, 16, 16, dtype=torch.bool), torch.ones(1, 1, 16, 16, dtype=torch.bool)
    here[..., 4:12, 4:12] = True
    x = maps.clone().requires_grad_(True)
    first = unlike([x], [other], [maps], here, there)
    (grad,) = torch.autograd.grad(first, x)
    for _ in range(50):
        x = (x - 0.3 * grad / grad.abs().max()).detach().requires_grad_(True)
        last = unlike([x], [other], [maps], here, there)
        (grad,) = torch.autograd.grad(last, x)
    assert float(last.detach()) < 0.9 * float(first.detach())
    assert torch.equal(x[..., :2, :], maps[..., :2, :])  # what is not the thing feels nothing
    ones = torch.ones(1, 1, 8, 8)
    looks = [torch.cosine_similarity(moments(each, ones), moments(other, ones)) for each in (maps, x.detach())]
    assert float(looks[1]) > float(looks[0])


def test_only_the_thing_and_what_is_right_beside_it_changes(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    source, mask = picture(), box(16, 16, 24, 24)
    result = likened(memory, shelf, source=source, mask=mask, other=picture(1), look=box(0, 0, 20, 20), grow=2)
    changed = (np.asarray(result) != np.asarray(source)).any(-1)
    reach = np.asarray(box(14, 14, 28, 28)) > 0
    assert changed[np.asarray(mask) > 0].mean() > 0.5 and not changed[~reach].any()
    with memory.use(toy.net) as net:
        assert all(not each._forward_hooks for each in net.up_blocks)
        assert not any(type(each).__name__ == "FromBank" for each in net.attn_processors.values())
        assert all(value.grad is None for value in net.parameters())
    assert all(each.lent == 0 for each in memory.residents())


def test_the_reference_decides_and_so_does_its_part(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    half = Image.new("RGB", (64, 64), (220, 40, 40))
    half.paste((40, 60, 220), (32, 0, 64, 64))
    named = {"source": picture(), "mask": box(16, 16, 24, 24), "other": half}
    red, again, blue = (likened(memory, shelf, **named, look=box(left, 0, 32, 64)).tobytes() for left in (0, 0, 32))
    assert red == again != blue
    clear = half.convert("RGBA")
    clear.putalpha(box(0, 0, 32, 64))
    assert likened(memory, shelf, **named | {"other": clear}).tobytes() == red  # without a part, what is solid


def test_it_can_be_stopped_at_any_step_and_is_admitted_with_its_gradients(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    names = {"source": shelf.put(picture()), "mask": shelf.put(box(16, 16, 24, 24)), "other": shelf.put(picture(1))}
    request = parse({**QUICK, **names})
    told = [each for each in run(request, memory, shelf) if isinstance(each, Progress)]
    for after in (1, len(told) - 1):
        running = run(request, memory, shelf)
        for _ in range(after):
            while not isinstance(next(running), Progress):
                pass
        running.close()
        assert all(each.lent == 0 for each in memory.residents())
        with memory.use(toy.net) as net:
            assert all(not each._forward_hooks for each in net.up_blocks)
    plain = work_of(
        parse({"task": "inpaint", "model": "toy", **{k: names[k] for k in ("source", "mask")}}), memory, shelf
    )
    assert work_of(request, memory, shelf).maps[toy.net.key] > 4 * plain.maps[toy.net.key]


def test_what_is_missing_or_cannot_be_is_said(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, tmp_path: Path
) -> None:
    source, mask, other = picture(), box(16, 16, 24, 24), picture(1)
    wrong = {
        "Picture: choose": {"other": other},
        "Mask: point at": {"source": source, "other": other},
        "Reference: choose": {"source": source, "mask": mask},
        "empty": {"source": source, "mask": mask, "other": other, "look": Image.new("L", (64, 64))},
        "take them off": {"source": source, "mask": mask, "other": other, "accelerators": ["todo"]},
    }
    for words, values in wrong.items():
        with pytest.raises(BadRequest, match=words) as refusal:
            likened(memory, shelf, **values)
        assert "\n" not in str(refusal.value)
    sd3(tmp_path / "sd3")
    models.add("toy-sd3", load_folder(tmp_path / "sd3", "toy-sd3"))
    try:
        with pytest.raises(StudioError, match="UNet"):
            likened(memory, shelf, source=source, mask=mask, other=other, model="toy-sd3")
    finally:
        models.remove("toy-sd3")
