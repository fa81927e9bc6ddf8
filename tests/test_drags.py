"""Pulling by what a network sees, on toys of the real classes and on maps whose answer is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from pipelines import identity
from pipelines.errors import BadRequest, StudioError
from pipelines.events import Cancelled, Done, Finished, Progress, Stage
from pipelines.grounds import Ground
from pipelines.library import Library
from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder, models
from pipelines.motion import Shift, bent, energy
from pipelines.needs import work_of
from pipelines.painting import encoded
from pipelines.pictures import to_pixels
from pipelines.pulling import Bank, Grip, beside, maps_of, searched, shown_by
from pipelines.runner import Runner
from pipelines.samplers import Path as Walk
from pipelines.sheets import Sheet
from pipelines.shelf import FolderShelf
from pipelines.tasks import parse, run
from pipelines.types import exploding
from tests.accounting import host, result_of
from tests.tiny.checkpoints import sd3

WAYS = ("warp", "energy", "search")
QUICK = {"task": "drag", "model": "toy", "steps": 6, "seed": 3, "updates": 3, "arrows": "20,20>36,28; 50,50>50,50"}
SHAPE = (16, 16)


def picture(seed: int = 0, side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8))


def dragged(memory: Memory, shelf: FolderShelf, **values: object) -> Image.Image:
    (one,) = result_of(run(parse({**QUICK, **values}), memory, shelf)).pictures
    assert one.picture is not None
    return one.picture


def grip(shift: Shift, handles: torch.Tensor, targets: torch.Tensor, maps) -> Grip:  # type: ignore[no-untyped-def]
    denoise = lambda x, sigma: x / (1 + sigma**2)  # noqa: E731  # the mean of all x0 of unit variance
    generator = torch.Generator().manual_seed(0)
    path = Walk(exploding, lambda like: torch.randn(like.shape, generator=generator))
    free = torch.from_numpy(shift.free)[None, None]
    return Grip(denoise, denoise, maps, Bank(), path, free, lambda a, b, _: energy(a, b, shift), handles, targets)


def ended(walk) -> tuple[torch.Tensor, list]:  # type: ignore[no-untyped-def,type-arg]
    steps = []
    while True:
        try:
            steps.append(next(walk))
        except StopIteration as end:
            return end.value, steps


@pytest.mark.parametrize("way", WAYS)
def test_what_is_under_the_mask_changes_and_nothing_else(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, way: str
) -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (8, 8, 48, 48))
    with memory.use(toy.net) as net:
        before = {name: value.clone() for name, value in net.state_dict().items()}
        processors = dict(net.attn_processors)
    source = picture()
    result = dragged(memory, shelf, way=way, source=shelf.put(source), mask=shelf.put(mask))
    inside = np.asarray(mask) > 0
    changed = (np.asarray(result) != np.asarray(source)).any(-1)
    assert not changed[~inside].any() and changed[inside].mean() > (0.05 if way == "warp" else 0.5)
    with memory.use(toy.net) as net:
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        assert net.attn_processors == processors
        assert all(not each._forward_hooks for each in net.up_blocks)
        assert all(value.grad is None for value in net.parameters())
    assert all(each.lent == 0 for each in memory.residents())


@pytest.mark.parametrize("way", ["energy", "search"])
def test_gradients_go_through_networks_and_prompts_that_another_task_loaded(
    toy: ModelSpec, shelf: FolderShelf, way: str
) -> None:
    used = host()
    words = {"task": "text_to_image", "model": "toy", "steps": 1, "seed": 1, "width": 64, "height": 64}
    result_of(run(parse({**words, "prompt": "a cat"}), used, shelf))
    named = {"source": shelf.put(picture()), "prompt": "a cat"}
    assert dragged(used, shelf, way=way, **named).size == (64, 64)


def test_the_next_drag_of_a_picture_does_not_invert_it_again(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    mask = Image.new("L", (64, 64), 255)
    names = {**QUICK, "way": "energy", "source": shelf.put(picture(5)), "mask": shelf.put(mask)}
    first, second, other = (
        [each.steps for each in run(parse({**names, **more}), memory, shelf) if isinstance(each, Progress)]
        for more in ({}, {"arrows": "20,20>10,10"}, {"prompt": "a dog"})
    )
    assert len(first) == len(other) == first[0] and len(second) == second[0] <= first[0] - 3


@pytest.mark.parametrize("way", WAYS)
def test_a_drag_can_be_stopped_at_any_step(toy: ModelSpec, memory: Memory, shelf: FolderShelf, way: str) -> None:
    request = parse({**QUICK, "way": way, "steps": 3, "source": shelf.put(picture(WAYS.index(way)))})
    told = [event for event in run(request, memory, shelf) if isinstance(event, Progress)]
    for after in (1, len(told) // 2, len(told) - 1):
        memory.free()  # the inversion, too
        running = run(request, memory, shelf)
        for _ in range(after):
            while not isinstance(next(running), Progress):
                pass
        running.close()
        assert all(each.lent == 0 for each in memory.residents())
        with memory.use(toy.net) as net:
            assert all(not each._forward_hooks for each in net.up_blocks)
            assert not any(type(each).__name__ == "FromBank" for each in net.attn_processors.values())


@pytest.mark.parametrize("way", WAYS)
def test_who_stops_a_drag_keeps_the_best_so_far(toy: ModelSpec, tmp_path: Path, way: str) -> None:
    library = Library(tmp_path / "library")
    runner, source = Runner(host, library), picture(9)
    values = {**QUICK, "way": way, "steps": 60, "updates": 300, "source": library.shelf("").put(source)}
    job = runner.submit(parse(values))
    for event in job.events(timeout=60):
        if isinstance(event, Progress) and event.points:
            break
    runner.stop(job)
    told = list(job.events(timeout=60))
    (kept,) = (each.painted for each in told if isinstance(each, Finished))
    assert isinstance(told[-1], Cancelled)
    assert (np.asarray(Image.open(str(kept.file)).convert("RGB")) != np.asarray(source)).any()
    assert runner.memory is not None and all(each.lent == 0 for each in runner.memory.residents())
    again = runner.submit(parse({**values, "steps": 2, "updates": 1, "arrows": "20,20>24,20"}))
    assert isinstance(list(again.events(timeout=60))[-1], Done)  # it can be stopped again, and was not
    runner.close()
    library.close()


def test_a_thing_goes_as_it_is_and_only_what_it_uncovers_is_painted(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    things = Image.new("L", (64, 64))
    things.paste(255, (8, 8, 24, 24))
    source = picture(4)
    values = {"source": shelf.put(source), "things": shelf.put(things), "arrows": "12,12>40,36", "blend": 0, "grow": 2}
    result, before = np.asarray(dragged(memory, shelf, **values)), np.asarray(source)
    assert (result[32:48, 36:52] == before[8:24, 8:24]).all()
    kept = np.ones((64, 64), bool)
    kept[32:48, 36:52] = kept[6:26, 6:26] = False
    assert (result == before)[kept].all() and (result != before)[9:23, 9:23].mean() > 0.8


def test_what_the_arrows_begin_on_is_in_the_recipe_and_gives_the_same_again(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    values = {**QUICK, "source": shelf.put(picture(6)), "arrows": "20,20>40,28"}
    (one,) = result_of(run(parse(values), memory, shelf)).pictures
    assert one.request.things  # type: ignore[attr-defined]
    again = result_of(run(one.request, memory, shelf)).pictures[0]
    assert again.picture.tobytes() == one.picture.tobytes()  # type: ignore[union-attr]


@pytest.mark.parametrize("way", ["energy", "search"])
def test_the_points_are_told_in_pixels_of_the_picture(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, way: str
) -> None:
    source = picture(7, 128)  # twice the toy's side
    values = {**QUICK, "way": way, "source": shelf.put(source), "arrows": "40,40>60,48;100,90>100,90", "margin": 0}
    told = [each.points for each in run(parse(values), memory, shelf) if isinstance(each, Progress) and each.points]
    assert told and all(len(points) == 2 for points in told)
    if way == "search":
        assert told[0][0] == pytest.approx((40, 40), abs=1e-3) and told[0][1] == pytest.approx((100, 90), abs=1e-3)


@pytest.mark.parametrize("way", WAYS)
def test_many_arrows_and_short_ones_are_followed(toy: ModelSpec, memory: Memory, shelf: FolderShelf, way: str) -> None:
    many = ";".join(f"{k},10>{k},{20 + k % 7}" for k in range(50))
    for arrows in (many, "30,30>31,30"):
        result = dragged(memory, shelf, way=way, steps=2, updates=1, arrows=arrows, source=shelf.put(picture()))
        assert result.size == (64, 64)


def test_what_cannot_be_dragged_is_said(toy: ModelSpec, memory: Memory, shelf: FolderShelf, tmp_path: Path) -> None:
    away = Image.new("L", (64, 64))
    away.paste(255, (40, 40, 60, 60))
    source = shelf.put(picture())
    wrong = {
        "Picture: choose": {},
        "draw at least one": {"source": source, "arrows": ""},
        "Arrows: ": {"source": source, "arrows": "here > there"},
        "lies outside": {"source": source, "arrows": "2,2>64,2"},
        "leaves out .20, 20.": {"source": source, "mask": shelf.put(away)},
        "take them off": {"source": source, "accelerators": ["todo"], "way": "energy"},
    }
    for words, values in wrong.items():
        with pytest.raises(BadRequest, match=words) as refusal:
            dragged(memory, shelf, **values)
        assert "\n" not in str(refusal.value)
    sd3(tmp_path / "sd3")
    models.add("toy-sd3", load_folder(tmp_path / "sd3", "toy-sd3"))
    try:
        with pytest.raises(StudioError, match="UNet"):
            dragged(memory, shelf, model="toy-sd3", source=source)
    finally:
        models.remove("toy-sd3")


def test_no_more_of_the_network_is_computed_than_the_maps_need(toy: ModelSpec, memory: Memory) -> None:
    with torch.no_grad(), memory.use(toy.net) as net:
        cond, later = encoded(toy, memory, "a cat"), []
        hook = net.conv_out.register_forward_hook(lambda *_: later.append(1))
        levels = shown_by(net, toy, memory, gradients=True)
        maps = maps_of(toy.predictor(net), levels, torch.zeros(1, 4, 8, 8), torch.tensor(1.0), cond)
        hook.remove()
    assert len(maps) == len(levels) and not later and all(each.dim() == 4 for each in maps)


def test_where_nothing_moves_the_walk_beside_the_source_is_the_source() -> None:
    points = torch.tensor([[8.0, 8.0]])
    still = bent(points.numpy(), points.numpy(), np.ones(SHAPE, bool), 1.0)
    held = grip(still, points, points, lambda x, sigma: [x])
    sigmas = torch.tensor([3.0, 1.0, 0.5, 0.2, 0.0])
    top = 3 * torch.randn(1, 4, *SHAPE, generator=torch.Generator().manual_seed(1))
    (alone, _), (same, _) = (ended(beside(held, top, x, sigmas, 0.0)) for x in (top, top.clone()))
    assert torch.equal(alone, same) and float((alone / top).std()) < 1e-5
    free = np.zeros(SHAPE, bool)
    free[:, 8:] = True
    half = grip(bent(points.numpy(), points.numpy(), free, 1.0), points, points, lambda x, sigma: [x])
    with torch.no_grad():
        kept, _ = ended(beside(half, top, top + 1, sigmas, 0.5))
    assert torch.equal(kept[..., :8], alone[..., :8]) and not torch.allclose(kept[..., 8:], alone[..., 8:], atol=0.05)


def test_the_energy_pulls_features_to_where_they_belong() -> None:
    handles, targets = torch.tensor([[4.0, 8.0]]), torch.tensor([[11.0, 8.0]])
    free = np.zeros(SHAPE, bool)
    free[1:-1, 1:-1] = True
    shift = bent(handles.numpy(), targets.numpy(), free, 2.0)
    top = torch.randn(1, 4, *SHAPE, generator=torch.Generator().manual_seed(2))
    sigmas = torch.linspace(1, 0, 11)
    pulled = grip(shift, handles, targets, lambda x, sigma: [x])
    with torch.no_grad():
        (plain, _), (drawn, steps) = (ended(beside(pulled, top, top.clone(), sigmas, pull)) for pull in (0.0, 0.3))
    looks = plain[0, :, 8, 4]
    before, after = (torch.cosine_similarity(each[0, :, 8, 11], looks, dim=0) for each in (plain, drawn))
    assert float(after) > float(before) + 0.3
    assert len(steps) == 10 and steps[0].points and not steps[-1].points


def test_a_search_brings_what_is_at_a_handle_to_its_target_and_stops_there() -> None:
    noise = torch.randn(1, 4, *SHAPE, generator=torch.Generator().manual_seed(3))
    smooth = functional.avg_pool2d(noise, 5, 1, 2) * 5
    handles, targets = torch.tensor([[6.0, 8.0]]), torch.tensor([[8.0, 8.0]])
    free = np.ones(SHAPE, bool)
    free[:3] = False

    def maps(x: torch.Tensor, sigma: torch.Tensor) -> list[torch.Tensor]:
        return [torch.cat([x, x.roll(1, 2), x.roll(-1, 2), x.roll(1, 3), x.roll(-1, 3)], 1)]

    shift = bent(handles.numpy(), targets.numpy(), free, 1.0)
    pulled = grip(shift, handles, targets, maps)
    with torch.no_grad():
        found, steps = ended(searched(pulled, smooth, torch.tensor(0.5), 400))
        still = grip(shift, targets, targets, maps)
        same, none = ended(searched(still, smooth, torch.tensor(0.5), 5))
    distance = [float(torch.tensor(each.points[0]).sub(targets[0]).norm()) for each in steps]
    assert distance[0] == 2 and distance[-1] <= 1 and len(steps) < 400
    assert torch.equal(found[..., :3, :], smooth[..., :3, :]) and not none and torch.equal(same, smooth)


def test_ways_that_need_gradients_are_admitted_with_more_memory(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    name = shelf.put(picture())
    plain, more = (work_of(parse({**QUICK, "way": way, "source": name}), memory, shelf) for way in ("warp", "search"))
    assert more.maps[toy.net.key] > 4 * plain.maps[toy.net.key] and more.pixels == plain.pixels > 0
    assert more.gradients and not plain.gradients  # measured apart, so that neither is taken for the other


def test_what_is_painted_where_a_thing_was_does_not_get_its_detail_back() -> None:
    wall = Image.new("RGB", (64, 64), (80, 140, 60))
    picture = wall.copy()
    picture.paste((250, 210, 40), (24, 24, 40, 40))
    mask = np.zeros((64, 64), np.uint8)
    mask[20:44, 20:44] = 255
    sheet = Sheet(picture, mask, cover=255)
    frame = sheet.frame(64, 8)
    result = np.asarray(sheet.composed(wall, frame, read=wall), int)
    assert abs(result - np.asarray(wall, int)).max() <= 2


def test_a_picture_is_learned_by_heart_once_and_the_painter_stays_as_it_was(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    values = {**QUICK, "way": "search", "identity": 10, "steps": 3, "updates": 1, "source": shelf.put(picture(11))}
    with memory.use(toy.net) as net:
        before = {name: value.clone() for name, value in net.state_dict().items()}
    told = [list(run(parse({**values, **more}), memory, shelf)) for more in ({}, {"arrows": "20,20>10,10"})]
    by_heart = [sum(isinstance(each, Stage) and "by heart" in each.text for each in events) for events in told]
    assert by_heart == [1, 0]
    with memory.use(toy.net) as net:
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        assert not any(each._forward_hooks for each in net.modules())


def test_what_is_learned_by_heart_is_this_picture(toy: ModelSpec, memory: Memory) -> None:
    with torch.no_grad():
        cond = encoded(toy, memory, "a cat")
        with memory.use(toy.vae) as vae:
            pixels = to_pixels(picture(12))
            latents, others = toy.encode(vae, pixels), toy.encode(vae, to_pixels(picture(13)))
        ones = torch.ones(1, 1, *latents.shape[-2:])
        ground = Ground(toy, memory, cond, cond, pixels, ones, latents, ones, None)
        lora = result_of(identity.learned(ground, 40, 1))

        def error(seen: torch.Tensor, worn: object) -> float:
            with memory.use(toy.net) as net, identity.kept(net, worn, "the toy"):  # type: ignore[arg-type]
                looks = [torch.Generator().manual_seed(k) for k in range(8)]
                return sum(float(identity.error(replace(ground, latents=seen), net, each)) for each in looks)

        gains = [error(seen, None) / error(seen, lora) for seen in (latents, others)]
    assert gains[0] > 1.02 and gains[0] > gains[1]
