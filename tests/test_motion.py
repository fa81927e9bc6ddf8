"""Putting things elsewhere, in closed form: warps, energies, tracking and regional noise, without a network."""

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.errors import BadRequest
from pipelines.gestures import around, arrows_in, place_in
from pipelines.motion import (
    Shift,
    bent,
    carried,
    energy,
    itself,
    placed,
    returned,
    sampled,
    stepped,
    supervision,
    tracked,
    warped,
)
from pipelines.samplers import Path
from pipelines.samplers.ddim import Ddim
from pipelines.types import exploding, straight

SHAPE = (12, 16)


def block(left: int, top: int, width: int, height: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    region = np.zeros(shape, bool)
    region[top : top + height, left : left + width] = True
    return region


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_thing_is_carried_whole_and_what_it_covered_is_left() -> None:
    thing = block(2, 3, 3, 4)
    shift = carried(thing, (3, 4.5), (9, 4.5), 1.0, copies=False)
    assert (shift.moved == block(8, 3, 3, 4)).all() and (shift.left == thing).all()
    latents, other = noise(1, 4, *SHAPE), noise(1, 4, *SHAPE, seed=1)
    after = warped(latents, shift, other)
    assert torch.equal(after[..., 3:7, 8:11], latents[..., 3:7, 2:5])
    assert torch.equal(after[..., 3:7, 2:5], other[..., 3:7, 2:5])
    rest = torch.from_numpy(~shift.free)
    assert torch.equal(after[..., rest], latents[..., rest])


def test_a_copy_leaves_nothing_and_an_overlapping_move_only_what_is_uncovered() -> None:
    thing = block(2, 3, 4, 4)
    assert not carried(thing, (3.5, 4.5), (10, 4.5), 1.0, copies=True).left.any()
    near = carried(thing, (3.5, 4.5), (5.5, 4.5), 1.0, copies=False)
    assert (near.left == block(2, 3, 2, 4)).all() and (near.moved == block(4, 3, 4, 4)).all()


@pytest.mark.parametrize(("scale", "side"), [(2.0, 6), (3.0, 9), (1.0, 3)])
def test_a_thing_grows_by_its_scale(scale: float, side: int) -> None:
    thing = block(7, 5, 3, 3, (24, 24))
    shift = carried(thing, (8, 6), (12, 12), scale, copies=True)
    assert shift.moved.sum() == pytest.approx(side**2, abs=2 * side + 1)
    y, x = np.nonzero(shift.moved)
    assert abs(x.mean() - 12) < 0.6 and abs(y.mean() - 12) < 0.6


def test_a_thing_carried_over_the_edge_shows_in_part() -> None:
    shift = carried(block(2, 3, 4, 4), (3.5, 4.5), (15.5, 4.5), 1.0, copies=False)
    assert (shift.moved == block(14, 3, 2, 4)).all()
    assert not carried(block(2, 3, 4, 4), (3.5, 4.5), (90, 4.5), 1.0, copies=False).moved.any()


def test_an_arrow_brings_its_handle_to_its_target_and_leaves_what_is_not_free() -> None:
    free = block(2, 2, 12, 8)
    shift = bent(np.array([[5.0, 5.0]]), np.array([[9.0, 6.0]]), free, 1.0)
    assert shift.origins[6, 9].tolist() == pytest.approx([5, 5])
    assert shift.origins[6, 10].tolist() == pytest.approx([6, 5])
    assert (shift.origins == itself(SHAPE))[~free].all() and not (shift.moved & ~free).any()
    by = np.linalg.norm(itself(SHAPE) - shift.origins, axis=-1)
    assert by.max() <= np.hypot(4, 1) + 1e-4  # a membrane has its extremes at what is known
    assert by[6, 9] > by[6, 12] > by[6, 13] >= 0


def test_an_arrow_to_itself_holds_and_two_pull_apart() -> None:
    handles, targets = np.array([[4.0, 6.0], [11.0, 6.0]]), np.array([[4.0, 6.0], [13.0, 6.0]])
    shift = bent(handles, targets, np.ones(SHAPE, bool), 1.0)
    assert not shift.moved[6, 4] and shift.moved[6, 13]
    assert shift.origins[6, 13].tolist() == pytest.approx([11, 6]) and not shift.moved[0].any()


def test_values_are_sampled_between_places_whatever_the_size_of_the_maps() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 6, 8)  # half of the places' size
    places = torch.tensor([[4.5, 3.0], [6.5, 3.0], [5.5, 8.0]])
    assert sampled(ramp, places, SHAPE)[0].tolist() == pytest.approx([2.0, 3.0, 2.5])


def test_the_energy_is_least_where_the_shift_is_done_and_its_gradient_leads_there() -> None:
    before = noise(1, 8, *SHAPE)
    shift = carried(block(2, 3, 3, 4), (3, 4.5), (9, 4.5), 1.0, copies=True)
    done = warped(before, shift, before)
    far, near = (float(energy([now], [before], shift)) for now in (before, done))
    assert near == pytest.approx(0.2, abs=1e-5) and far > near + 0.05
    now = before.clone()
    for _ in range(100):
        now.requires_grad_(True)
        (grad,) = torch.autograd.grad(energy([now], [before], shift), now)
        now = (now - 20 * grad).detach()
    assert float(energy([now], [before], shift)) < near + 0.02
    outside = torch.from_numpy(~shift.moved)
    assert torch.equal(now[..., outside], before[..., outside])


def test_what_was_left_should_be_unlike_what_was_there() -> None:
    before = noise(1, 8, *SHAPE)
    thing = block(2, 3, 3, 4)
    shift = carried(thing, (3, 4.5), (9, 4.5), 1.0, copies=False)
    stays, gone = warped(before, shift, before), warped(before, shift, noise(1, 8, *SHAPE, seed=3))
    assert float(energy([gone], [before], shift)) < float(energy([stays], [before], shift))


@pytest.mark.parametrize("by", [(3, 0), (-2, 2), (0, 0)])
def test_points_are_tracked_as_far_as_they_went_and_no_further_than_allowed(by: tuple[int, int]) -> None:
    before = noise(1, 16, *SHAPE)
    now = before.roll((by[1], by[0]), (2, 3))
    points = torch.tensor([[6.0, 5.0], [9.0, 7.0]])
    looks = sampled(before, points, SHAPE).T
    found = tracked(now, looks, points, 4.0, SHAPE)
    assert torch.allclose(found, points + torch.tensor(by, dtype=torch.float32), atol=0.26)
    near = tracked(now, looks, points, 1.0, SHAPE)
    assert float((near - points).norm(dim=-1).max()) <= 1.01


def test_supervision_moves_what_is_around_a_point_towards_its_target() -> None:
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(16.0), indexing="ij")
    centre = torch.tensor([5.0], requires_grad=True)
    blob = torch.exp(-((x - centre) ** 2 + (y - 6) ** 2) / 4)[None, None]
    loss = supervision(blob, torch.tensor([[5.0, 6.0]]), torch.tensor([[11.0, 6.0]]), 2, SHAPE)
    (grad,) = torch.autograd.grad(loss, centre)
    assert float(grad) < 0 and float(loss.detach()) > 0
    there = torch.tensor([[5.0, 6.0]])
    assert float(supervision(blob.detach(), there, there, 2, SHAPE)) == 0


@pytest.mark.parametrize("alpha", [exploding, straight])
def test_regional_noise_is_ddim_with_its_eta_in_the_region_and_without_outside(alpha) -> None:  # type: ignore[no-untyped-def]
    sigmas = torch.tensor([0.9, 0.6, 0.0])
    x, denoised, fresh = (noise(1, 4, *SHAPE, seed=k) for k in range(3))
    path = Path(alpha, lambda like: fresh)
    eta = torch.zeros(1, 1, *SHAPE)
    eta[..., 8:] = 0.4

    def walked(amount: float) -> torch.Tensor:
        walk = Ddim(eta=amount)(lambda *_: denoised, x, sigmas[:2], path)
        next(walk)
        with pytest.raises(StopIteration) as end:
            next(walk)
        return end.value.value

    after = stepped(x, denoised, sigmas[0], sigmas[1], eta, path)
    assert torch.allclose(after[..., :8], walked(0.0)[..., :8], atol=1e-6)
    assert torch.allclose(after[..., 8:], walked(0.4)[..., 8:], atol=1e-6)
    assert torch.allclose(stepped(x, denoised, sigmas[1], sigmas[2], eta, path), path.alpha(sigmas[2]) * denoised)


@pytest.mark.parametrize("alpha", [exploding, straight])
def test_time_travel_returns_to_the_level_it_came_from(alpha) -> None:  # type: ignore[no-untyped-def]
    low, high = torch.tensor(0.3), torch.tensor(0.8)
    path = Path(alpha, lambda like: noise(*like.shape, seed=5))
    clean = torch.full((1, 4, 64, 64), 2.0)
    x = path.alpha(low) * clean + low * noise(1, 4, 64, 64)
    back = returned(x, low, high, path)
    assert float(back.mean() / path.alpha(high)) == pytest.approx(2, abs=0.1 / float(path.alpha(high)))
    assert float(back.std()) == pytest.approx(float(high), rel=0.03)


def test_a_thing_is_placed_to_the_byte_and_scaled_about_its_middle() -> None:
    levels = np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    picture, below = Image.fromarray(levels), Image.new("RGB", (50, 50), "blue")
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 5:25] = 255
    whole, shown = placed(below, picture, mask, (30, 25), 1.0)
    assert (np.asarray(whole)[20:30, 20:40] == levels[10:20, 5:25]).all()
    assert (shown[20:30, 20:40] == 255).all() and shown.sum() == 255 * 200
    assert (np.asarray(whole)[shown == 0] == (0, 0, 255)).all()
    _, larger = placed(below, picture, mask, (25, 25), 2.0)
    assert Image.fromarray(larger).getbbox() == (5, 15, 45, 35)
    assert not placed(below, picture, mask, (500, 25), 1.0)[1].any()


def test_what_is_placed_on_a_clear_place_is_seen() -> None:
    below = Image.new("RGBA", (20, 20))
    whole, shown = placed(below, Image.new("RGB", (4, 4), "red"), np.full((4, 4), 255, np.uint8), (10, 10), 1.0)
    assert whole.mode == "RGBA" and (np.asarray(whole)[..., 3] == shown).all()


def test_arrows_are_read_and_what_cannot_be_followed_is_said() -> None:
    first, second = arrows_in(" 3,4 > 10,4 ; 5,6>5,6;", (20, 10))
    assert first.handle == (3, 4) and first.target == (10, 4) and first.length == 7 and second.length == 0
    assert place_in(" 3, 4") == (3, 4) and place_in("") is None
    many = ";".join(f"{k},0>{k},9" for k in range(50))
    assert len(arrows_in(many, (60, 10))) == 50
    wrong = {
        "": "draw at least one",
        "5,5>5,5": "draw at least one",
        "1,1>20,1": r"\(20, 1\) lies outside",
        "-1,1>2,1": "lies outside",
        "1,1>2,2;1,1>4,4": "two begin",
        "1,1>2,2;3,1>2,2": "two end",
    }
    for text, words in wrong.items():
        with pytest.raises(BadRequest, match=words):
            arrows_in(text, (20, 10))


def test_a_one_pixel_arrow_frees_a_little_around_it_and_holding_frees_nothing() -> None:
    mask = around(arrows_in("50,40>51,40; 80,20>80,20", (100, 80)), (100, 80))
    assert mask[40, 50] == 255 and mask[40, 58] == 255 and mask[40, 70] == 0 and mask[20, 80] == 0


def test_a_shift_of_nothing_changes_nothing() -> None:
    still = bent(np.array([[4.0, 4.0]]), np.array([[4.0, 4.0]]), block(1, 1, 8, 8), 1.0)
    assert isinstance(still, Shift) and not still.moved.any()
    latents = noise(1, 4, *SHAPE)
    assert torch.equal(warped(latents, still, latents + 1), latents)
