"""Pictures bent by arrows, in closed form: similarities are found, things arrive to the pixel, what is not free stays."""

import numpy as np
import pytest
from PIL import Image

from pipelines.frames import frame
from pipelines.gestures import Arrow, Point, arrows_of
from pipelines.motion import itself
from pipelines.warping import coarse, pulled, shown, similar, stretched

SIDE = 64
ALL = np.ones((SIDE, SIDE), bool)


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8))


def block(left: int, top: int, width: int, height: int) -> np.ndarray:
    region = np.zeros((SIDE, SIDE), bool)
    region[top : top + height, left : left + width] = True
    return region


def test_two_points_and_more_of_a_similarity_are_enough_to_know_it() -> None:
    turn = 1.4 * np.exp(0.5j)
    handles = np.array([[3, 4], [20, 9], [11, 30]], np.float32)
    places = np.array([[7.0, 7.0], [40.0, 2.0], [20.0, 9.0]], np.float32)

    def moved(points: np.ndarray) -> np.ndarray:
        z = (points[:, 0] + 1j * points[:, 1]) * turn + (5 - 2j)
        return np.stack([z.real, z.imag], -1)

    for count in (2, 3):
        found = similar(places, handles[:count], moved(handles[:count]))
        assert np.allclose(found, moved(places), atol=1e-3)


def test_one_point_shifts_and_every_handle_reaches_its_target() -> None:
    places = np.array([[7.0, 7.0], [40.0, 2.0]], np.float32)
    assert np.allclose(similar(places, np.array([[1, 1]]), np.array([[4, -1]])), places + np.array([3, -2]))
    rng = np.random.default_rng(0)
    handles, targets = (rng.uniform(0, 60, (6, 2)).astype(np.float32) for _ in range(2))
    assert np.allclose(similar(handles, handles, targets), targets, atol=0.01)


def test_a_thing_arrives_to_the_byte_and_leaves_where_it_was() -> None:
    source, thing = picture(), block(8, 10, 12, 9)
    shift = pulled(thing, arrows_of("10,12 > 40,30"), ALL)
    assert (shift.moved == block(38, 28, 12, 9)).all() and (shift.left == thing).all()
    after, before = np.asarray(shown(source, shift)), np.asarray(source)
    assert (after[28:37, 38:50] == before[10:19, 8:20]).all() and (after == before)[~shift.moved].all()


def test_each_thing_follows_its_own_arrows_and_one_without_stays() -> None:
    things = block(4, 4, 8, 8) | block(40, 40, 8, 8) | block(4, 40, 6, 6)
    shift = pulled(things, arrows_of("6,6>16,6; 44,44>44,54; 6,42>6,42"), ALL)
    assert (shift.moved == (block(14, 4, 8, 8) | block(40, 50, 8, 8))).all()
    assert not (shift.left & block(4, 40, 6, 6)).any()


def test_two_arrows_of_a_thing_make_it_larger() -> None:
    shift = pulled(block(20, 20, 16, 16), arrows_of("20,28>12,28; 35,28>43,28"), ALL)
    y, x = np.nonzero(shift.moved | block(20, 20, 16, 16))
    assert abs((np.ptp(x) + 1) - 32) <= 2 and abs((np.ptp(y) + 1) - 32) <= 2 and not shift.left.any()


def test_nothing_comes_where_it_may_not_and_over_the_edge_it_shows_in_part() -> None:
    free = np.ones((SIDE, SIDE), bool)
    free[:, 40:] = False
    shift = pulled(block(8, 10, 12, 9), arrows_of("10,12>36,12"), free)
    assert (shift.moved == block(34, 10, 6, 9)).all()
    edge = pulled(block(8, 10, 12, 9), arrows_of("10,12>60,12"), ALL)
    assert (edge.moved == block(58, 10, 6, 9)).all()


def test_a_part_is_stretched_and_what_is_not_free_stays() -> None:
    free = block(8, 8, 48, 48)
    shift = stretched([Arrow(Point(30, 30), Point(38, 30))], free, 3)
    assert shift.origins[30, 38].tolist() == pytest.approx([30, 30]) and not shift.left.any()
    assert (shift.origins == itself((SIDE, SIDE)))[~free].all()


def test_a_shift_of_pixels_is_one_of_latents() -> None:
    around = frame((SIDE, SIDE), (0, 0, SIDE, SIDE), SIDE, 32, 0)
    shift = coarse(pulled(block(8, 8, 16, 16), arrows_of("10,12>42,12"), ALL), around, 8, (8, 8), np.ones((8, 8), bool))
    assert (np.argwhere(shift.moved) == [[1, 5], [1, 6], [2, 5], [2, 6]]).all()
    assert (
        shift.origins[1, 5].tolist() == pytest.approx([1, 1]) and shift.left[1:3, 1:3].all() and shift.left.sum() == 4
    )
