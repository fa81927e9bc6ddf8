"""A subject is cut out where its pictures agree, and set in other places."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipelines.collages import PLACES, collages
from pipelines.cutouts import cutouts
from pipelines.training.scenes import sprite
from tests.quality.personalize import portraits, subjects

SIDE = 192


def drawn(back: str, x: int, y: int, size: int) -> Image.Image:
    """The same striped disc before a colour, elsewhere and of another size."""
    picture = Image.new("RGB", (SIDE, SIDE), back)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((x, y, x + size, y + size), fill="red")
    draw.rectangle((x + size // 4, y + size // 3, x + 3 * size // 4, y + 2 * size // 3), fill="white")
    return picture


PICTURES = [drawn("blue", 40, 60, 90), drawn("green", 70, 50, 80), drawn("yellow", 30, 40, 100)]


def test_what_the_pictures_share_is_cut_out_and_nothing_around_it() -> None:
    made = cutouts(PICTURES)
    assert made
    for each in made:
        width, height = each.size
        assert 75 <= width <= 110 and 75 <= height <= 110
        shown = np.asarray(each)[np.asarray(each.getchannel("A")) > 200][:, :3].astype(int)
        reds = (shown[:, 0] > 180).mean()  # red and white, and no blue or green
        assert reds > 0.95


def test_a_part_of_a_subject_is_not_taken_for_it() -> None:
    (duck,) = (each for each in subjects(8, 1) if each.thing == "duck")  # of one of its pictures, all but the head
    shapes = [each.width / each.height for each in cutouts(portraits(duck))]
    art = sprite("duck")
    assert shapes and all(abs(shape / (art.width / art.height) - 1) < 0.15 for shape in shapes)


def test_nothing_is_cut_out_of_one_picture_or_of_pictures_that_share_nothing() -> None:
    rng = np.random.default_rng(0)
    strange = [Image.fromarray(rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(3)]
    assert cutouts(PICTURES[:1]) == [] and cutouts(strange) == []


@pytest.mark.parametrize("cell", [8, 16])
def test_a_collage_holds_the_whole_subject_on_the_grid(cell: int) -> None:
    cut = Image.new("RGBA", (60, 40), (255, 0, 0, 255))
    grounds = [Image.new("RGB", (256, 256), each) for each in ("blue", "green")]
    made = collages([cut], grounds, 12, cell, seed=3)
    assert [each.ground for each in made] == [0, 1] * 6
    for each in made:
        left, top, right, bottom = each.mask.getbbox() or (0, 0, 0, 0)
        assert (right - left) % cell == 0 and (left + right) % (2 * cell) == 0
        assert np.asarray(each.picture)[(top + bottom) // 2, (left + right) // 2].tolist() == [255, 0, 0]
    assert len({each.mask.tobytes() for each in made}) > 4


def test_the_places_are_phrases() -> None:
    assert len(set(PLACES)) == len(PLACES) and all(each.split()[0] in ("in", "on", "at", "under") for each in PLACES)
