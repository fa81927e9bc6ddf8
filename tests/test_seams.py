"""Seams: colours matched where a painting meets the picture, and a measure of how the edge shows."""

import numpy as np
import pytest
from PIL import Image

from pipelines import seams


def landscape(width: int = 96, height: int = 80, seed: int = 0) -> np.ndarray:
    """A smooth picture with grain, (H, W, 3) float32 in 0..255."""
    y, x = np.mgrid[:height, :width] / 40
    smooth = np.stack([120 + 60 * np.sin(x + y), 130 + 50 * np.cos(x - y), 110 + 40 * np.sin(2 * x)], -1)
    return (smooth + np.random.default_rng(seed).normal(0, 3, smooth.shape)).astype(np.float32)


def middle(shape: tuple[int, ...]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (x - shape[1] / 2) ** 2 + (y - shape[0] / 2) ** 2 < (min(shape[:2]) / 3) ** 2


def energy(levels: np.ndarray, region: np.ndarray) -> float:
    found = seams.energy(Image.fromarray(levels.clip(0, 255).astype(np.uint8)), region)
    assert found is not None
    return found


def test_a_painter_that_repeats_the_picture_outside_is_matched_across_the_seam() -> None:
    picture, region = landscape(), middle((80, 96))
    raw = np.where(region[..., None], landscape(seed=1) + 25, picture)  # what a walk with pinned latents gives
    matched = np.where(region[..., None], seams.matched(raw, picture, region), picture)
    assert energy(raw, region) > 1.5 and energy(matched, region) < 1.15


@pytest.mark.parametrize("tint", [(12, 12, 12), (-20, 5, 10)])
@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_a_tinted_painting_meets_the_picture(tint: tuple[int, ...], slope: float) -> None:
    picture, region = landscape(), middle((80, 96))
    tinted = landscape(seed=1) + np.array(tint) + slope * np.arange(96)[:, None]
    raw = np.where(region[..., None], tinted, picture)
    matched = np.where(region[..., None], seams.matched(tinted.astype(np.float32), picture, region), picture)
    assert energy(raw, region) > 1.5 and energy(matched, region) < 1.15
    assert np.abs(matched - picture)[region].mean() < 6 < np.abs(raw - picture)[region].mean()


def test_a_thing_at_the_edge_of_the_mask_does_not_stain_the_rest() -> None:
    picture, region = landscape(), middle((80, 96))
    painted = landscape(seed=1)
    painted[38:42, :40] = 0  # a dark bar that ends where the mask does
    shift = seams.matched(painted, picture, region) - painted
    assert np.abs(shift[region]).mean() < 6 and np.abs(shift).max() <= seams.THING


def test_nothing_outside_the_region_is_shifted() -> None:
    picture, region = landscape(), middle((80, 96))
    painted = landscape(seed=1) + 20
    assert (seams.matched(painted, picture, region)[~region] == painted[~region]).all()
    assert (seams.matched(painted, picture, np.ones_like(region)) == painted).all()


def test_a_membrane_is_the_plane_through_a_plane_at_its_rim() -> None:
    y, x = np.mgrid[:61, :77].astype(np.float32)
    plane = (3 * x - 2 * y + 5)[..., None]
    hole = middle((61, 77))
    filled = seams.membrane(np.where(hole[..., None], 0, plane), ~hole)
    assert np.abs(filled - plane).max() < 0.03 * np.ptp(plane)
    assert (filled[~hole] == plane[~hole]).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (5, 200)])
def test_a_membrane_bears_any_shape(shape: tuple[int, int]) -> None:
    known = np.zeros(shape, bool)
    known[0, 0] = True
    filled = seams.membrane(np.full((*shape, 2), 7, np.float32) * known[..., None], known)
    assert filled.shape == (*shape, 2) and np.allclose(filled, 7, atol=1e-3)


def test_a_region_filled_from_its_surroundings_shows_nothing_of_what_was_there() -> None:
    picture, region = Image.new("RGB", (40, 30), (200, 100, 50)), middle((30, 40))
    spoilt = np.array(picture)
    spoilt[region] = (0, 255, 0)
    assert np.abs(np.asarray(seams.surrounded(Image.fromarray(spoilt), region)).astype(int) - (200, 100, 50)).max() <= 1
    assert seams.surrounded(picture, np.ones_like(region)).getpixel((0, 0)) == (128, 128, 128)


def test_seam_energy_tells_an_edge_from_none() -> None:
    picture, region = landscape(), middle((80, 96))
    stepped = picture + 30 * region[..., None]
    assert energy(picture, region) == pytest.approx(1, abs=0.15) and energy(stepped, region) > 5
    assert seams.energy(Image.new("RGB", (8, 8)), np.ones((8, 8), bool)) is None
    assert energy(np.full((80, 96, 3), 90.0), region) == 0
