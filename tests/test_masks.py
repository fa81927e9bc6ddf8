"""Masks: what a picture of one says, and how it grows, softens and changes its size."""

import numpy as np
import pytest
from PIL import Image

from pipelines import masks
from pipelines.errors import BadRequest


def disc(side: int = 41, radius: float = 10) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side // 2
    return np.where(x**2 + y**2 <= radius**2, 255, 0).astype(np.uint8)


def test_a_mask_is_read_by_brightness_and_by_alpha_where_only_that_says_something() -> None:
    white = Image.fromarray(disc())
    colour = Image.merge("RGB", [white] * 3)
    brush = Image.merge("RGBA", [white, white, white, white])  # white strokes on nothing
    black_brush = Image.merge("RGBA", [Image.new("L", white.size)] * 3 + [white])  # black strokes on nothing
    solid = colour.convert("RGBA")
    for picture in (white, colour, brush, black_brush, solid):
        assert (masks.of_picture(picture) == disc()).all(), picture.mode


def test_what_is_not_solid_is_a_mask() -> None:
    alpha = Image.fromarray(255 - disc() // 2)
    picture = Image.new("RGB", alpha.size, "red")
    picture.putalpha(alpha)
    assert (masks.of_alpha(picture) == disc()).all()  # type: ignore[operator]
    assert masks.of_alpha(Image.new("RGBA", (3, 3), "red")) is None and masks.of_alpha(Image.new("RGB", (3, 3))) is None


@pytest.mark.parametrize("pixels", [0, 1, 5, 12])
def test_growing_widens_a_disc_by_so_many_pixels(pixels: int) -> None:
    wide, exact = masks.grown(disc(), pixels) > 0, disc(radius=10 + pixels) > 0
    assert (wide != exact).mean() < 0.02 and (wide | (disc() == 0)).all()


def test_growing_carries_soft_values_outwards() -> None:
    soft = np.zeros((5, 9), np.uint8)
    soft[:, :2], soft[:, 2:4] = 255, 100
    assert masks.grown(soft, 3)[0].tolist() == [255, 255, 100, 100, 100, 100, 100, 0, 0]
    assert (masks.grown(np.zeros((3, 3), np.uint8), 4) == 0).all()


@pytest.mark.parametrize("pixels", [0, 1, 4, 40])
def test_feathering_stays_within_the_mask_and_rises_from_its_edge(pixels: int) -> None:
    shown, inside = masks.feathered(disc(), pixels), disc() > 0
    assert ((shown > 0) == inside).all() and shown[20, 20] == 255
    across = shown[20, 10:21].astype(int)
    assert (np.diff(across) >= 0).all() and (across[0] < 255) == (pixels > 0)


def test_a_mask_to_the_edge_of_the_picture_is_not_feathered_there() -> None:
    half = np.zeros((20, 20), np.uint8)
    half[:, 10:] = 255
    shown = masks.feathered(half, 4)
    assert (shown[:, -1] == 255).all() and (shown[:, 10] < 128).all()
    assert (masks.feathered(np.full((5, 5), 255, np.uint8), 4) == 255).all()


def test_a_weak_mask_shows_little_of_the_painting() -> None:
    shown = masks.feathered(np.arange(0, 256, dtype=np.uint8)[None].repeat(3, 0), 0)[0].astype(int)
    assert shown[0] == 0 and shown[1] > 0 and (np.diff(shown) >= 0).all() and (shown[43:] == 255).all()


@pytest.mark.parametrize("size", [(7, 5), (20, 20), (33, 64), (41, 41), (80, 100), (1, 1)])
def test_a_resized_mask_covers_what_it_covered(size: tuple[int, int]) -> None:
    mask = np.zeros((41, 41), np.uint8)
    mask[17, 30] = 200
    smaller = masks.resized(mask, size)
    assert smaller.shape == (size[1], size[0]) and smaller.max() == 200
    place = (17.5 / 41 * size[1], 30.5 / 41 * size[0])
    assert smaller[int(place[0]), int(place[1])] == 200


def test_a_mask_of_another_size_is_scaled_and_one_of_another_shape_refused() -> None:
    fitted, remark = masks.fitted(Image.fromarray(disc(40)), (80, 80))
    assert fitted.size == (80, 80) and "40 x 40" in remark and "80 x 80" in remark
    assert masks.fitted(Image.fromarray(disc(40)), (40, 40))[1] == ""
    with pytest.raises(BadRequest, match="same shape"):
        masks.fitted(Image.fromarray(disc(40)), (80, 60))


def test_the_box_of_a_mask_is_tight_and_an_empty_one_is_refused() -> None:
    mask = np.zeros((30, 20), np.uint8)
    mask[4:9, 11:20] = 3
    assert masks.box_of(mask) == (11, 4, 20, 9)
    with pytest.raises(BadRequest, match="empty"):
        masks.box_of(np.zeros((30, 20), np.uint8))
