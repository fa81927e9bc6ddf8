"""Pictures of a subject on their way into a training: upright, square on the content, different, and said why not."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from random import Random

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import BadPicture
from pipelines.pictures import opened
from pipelines.subjects import LARGEST, MOST, SMALLEST, _corner, gathered, review, seen, square
from pipelines.training.backdrops import Backdrop
from pipelines.training.scenes import Item, Scene, draw, masks, places, strangers

Source = tuple[str, Callable[[], Image.Image]]
THING = next(iter(strangers))
PLACES = tuple(places)


def shown(place: str = PLACES[0], x: float = 0.5, y: float = 0.5, size: tuple[int, int] = (256, 256)) -> Image.Image:
    return draw(Scene((Item(THING, x, y),), Backdrop(place, 1)), *size)


def held(picture: Image.Image) -> Source:
    return "a.png", lambda: picture


def filed(picture: Image.Image, name: str = "a.jpg", **how: object) -> Source:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92, **how)
    return name, partial(opened, file)


def test_the_square_holds_the_thing_wherever_it_stands() -> None:
    rng, held_by_it, held_by_the_middle = Random(7), 0, 0
    for k in range(40):
        upright, along = k % 2 == 0, rng.uniform(0.15, 0.85)
        where = {"x": 0.5, "y": along} if upright else {"x": along, "y": 0.5}
        scene = Scene((Item(rng.choice(list(strangers)), **where),), Backdrop(rng.choice(PLACES), k))
        size = (192, 448) if upright else (448, 192)
        there, picture = masks(scene, *size)[0], draw(scene, *size)
        corners = _corner(picture), ((448 - 192) // 2 * (not upright), (448 - 192) // 2 * upright)
        parts = [np.asarray(there.crop((x, y, x + 192, y + 192))).sum() / np.asarray(there).sum() for x, y in corners]
        assert square(picture).size == (192, 192)
        held_by_it += parts[0] > 0.95
        held_by_the_middle += parts[1] > 0.95
    assert held_by_it >= 36
    assert held_by_the_middle < 25


def test_a_picture_that_lies_on_its_side_is_turned_upright() -> None:
    upright = shown()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held to the right
    got = gathered([filed(upright.transpose(Image.Transpose.ROTATE_90), exif=exif)])
    assert np.abs(np.asarray(got.pictures[0][1], int) - np.asarray(upright, int)).mean() < 4


def test_what_is_transparent_is_white_and_no_content() -> None:
    clear = Image.new("RGBA", (300, 100), (255, 0, 0, 0))
    clear.paste((20, 60, 120, 255), (220, 20, 280, 80))
    cut = square(clear)
    assert cut.mode == "RGB"
    assert (np.asarray(cut) == (20, 60, 120)).all(-1).sum() == 60 * 60
    assert cut.getpixel((0, 0)) == (255, 255, 255)


def test_a_large_picture_is_kept_at_the_size_that_models_learn_from() -> None:
    assert square(shown(size=(2000, 1500))).size == (LARGEST, LARGEST)


def test_a_corrupt_picture_is_named_and_the_good_ones_stay() -> None:
    sources = [filed(shown(place), f"{place}.jpg") for place in PLACES[:3]]
    whole = io.BytesIO()
    shown(PLACES[4]).save(whole, "PNG")
    cut_off = io.BytesIO(whole.getvalue()[: len(whole.getvalue()) // 2])
    no_picture = io.BytesIO(b"<html>")
    got = gathered([*sources, ("cut.png", partial(opened, cut_off)), ("page.png", partial(opened, no_picture))])
    assert [name for name, _ in got.pictures] == [name for name, _ in sources]
    assert len(got.left_out) == 2
    assert got.left_out[0].startswith("cut.png was left out: the picture is damaged")
    assert got.left_out[1].startswith("page.png was left out: this is not a picture")


def test_one_pixel_and_one_colour_are_left_out_with_a_reason() -> None:
    got = gathered([held(Image.new("RGB", (1, 1))), held(Image.new("RGB", (200, 200), "teal"))])
    assert not got.pictures
    assert "1 x 1 pixels" in got.left_out[0]
    assert "of one colour" in got.left_out[1]
    with pytest.raises(BadPicture):
        square(Image.new("RGB", (SMALLEST - 1, 500)))


def test_the_same_picture_again_is_left_out_even_smaller_and_recoded() -> None:
    one = shown()
    again = filed(one.resize((150, 150)), "again.jpg", comment=b"")
    other = filed(shown(PLACES[1]), "other.jpg")
    got = gathered([filed(one, "one.jpg"), again, other])
    assert [name for name, _ in got.pictures] == ["one.jpg", "other.jpg"]
    assert got.left_out == ("again.jpg was left out: it shows the same as one.jpg.",)
    later = gathered([filed(one, "late.jpg")], known=[("one.jpg", seen(square(one)))])
    assert not later.pictures


def test_three_hundred_pictures_become_thirty_and_the_rest_is_not_even_opened() -> None:
    opens = []

    def noise(k: int) -> Image.Image:
        opens.append(k)
        return Image.fromarray(np.random.default_rng(k).integers(0, 255, (64, 64, 3), np.uint8))

    got = gathered([(f"{k}.png", partial(noise, k)) for k in range(300)])
    assert len(got.pictures) == len(opens) == MOST
    assert got.left_out == (f"{MOST} pictures are the most; 270 more were left out.",)


def test_small_ones_and_ones_much_alike_are_warned_of() -> None:
    pictures = {place: seen(shown(place)) for place in PLACES[:4]} | {"small": seen(shown(PLACES[5], size=(100, 100)))}
    said = review(pictures, side=256)
    assert "100 pixels across" in said.each["small"][0]
    assert all(not any("pixels" in word for word in said.each[place]) for place in PLACES[:4])
    assert said.together == ()
    alike = {f"{k}": seen(shown(PLACES[0], x=0.5 + k / 40)) for k in range(4)}
    assert "background may be learned" in " ".join(review(alike, side=256).together)
    assert "Three pictures or more" in review({"one": seen(shown())}, side=256).together[0]
