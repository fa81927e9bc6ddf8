"""What a canvas is told of a request, and what becomes of pictures and masks that it sends."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image, ImageCms

from pipelines.errors import StudioError
from pipelines.request import validated
from pipelines.shelf import FolderShelf
from pipelines.tasks import tasks
from studio.canvas import clear_of, mask_of, samples, seen
from studio.displays import LONGEST, displayed
from studio.modes import Modes
from studio.pointing import joined
from studio.tabs.repaint import MODES
from studio.uploads import picture_in


def file(folder: Path, picture: Image.Image, name: str = "picture.png", **how: Any) -> Path:
    picture.save(folder / name, **how)
    return folder / name


def test_a_picture_of_sixteen_bits_keeps_its_brightness(tmp_path: Path) -> None:
    levels = np.array([[0, 16384, 32768, 65535]], np.uint16)
    picture, note = picture_in(file(tmp_path, Image.fromarray(levels)))
    assert picture.mode == "L"
    assert np.asarray(picture).tolist() == [[0, 64, 128, 255]]
    assert "8" in note


def test_a_picture_for_print_becomes_one_for_a_screen(tmp_path: Path) -> None:
    picture, note = picture_in(file(tmp_path, Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "ink.jpg"))
    assert picture.mode == "RGB"
    assert picture.getpixel((1, 1))[0] > 200 > 60 > picture.getpixel((1, 1))[2]  # type: ignore[index]
    assert "CMYK" in note


def test_of_a_moving_picture_the_first_frame_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    picture, note = picture_in(file(tmp_path, frames[0], "moving.gif", save_all=True, append_images=frames[1:]))
    assert picture.convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    assert "first" in note


def test_a_picture_lies_as_its_camera_was_held(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    picture, note = picture_in(file(tmp_path, Image.new("RGB", (8, 4)), "turned.jpg", exif=turned))
    assert (picture.size, note) == ((4, 8), "")


@pytest.mark.parametrize("mode", ["LA", "P", "RGBA"])
def test_what_is_transparent_stays_so(tmp_path: Path, mode: str) -> None:
    clear = Image.new("RGBA", (4, 4), (10, 10, 10, 0))
    clear.putpixel((0, 0), (10, 10, 10, 255))
    picture, _ = picture_in(file(tmp_path, clear.quantize(4) if mode == "P" else clear.convert(mode)))
    assert picture.mode == "RGBA"
    mask = clear_of(picture)
    assert (mask.getpixel((0, 0)), mask.getpixel((1, 1))) == (0, 255)
    with pytest.raises(StudioError, match="transparent"):
        clear_of(Image.new("RGB", (2, 2)))


def test_colours_of_another_profile_become_those_of_a_screen(tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture, note = picture_in(file(tmp_path, Image.new("RGB", (2, 2), (200, 30, 40)), icc_profile=lab))
    assert (picture.getpixel((0, 0)), note) == ((200, 30, 40), "")
    broken, _ = picture_in(file(tmp_path, Image.new("RGB", (2, 2), (1, 2, 3)), icc_profile=b"none at all"))
    assert broken.getpixel((0, 0)) == (1, 2, 3)


def test_a_mask_of_another_size_is_stretched_and_that_is_said(tmp_path: Path) -> None:
    half = Image.new("L", (4, 4))
    half.paste(255, (2, 0, 4, 4))
    mask, note = mask_of(file(tmp_path, half), (8, 6))
    assert mask.size == (8, 6)
    assert (mask.getpixel((0, 3)), mask.getpixel((7, 3))) == (0, 255)
    assert "4 × 4" in note
    assert "8 × 6" in note


def test_in_a_mask_that_is_transparent_somewhere_the_rest_is_masked(tmp_path: Path) -> None:
    painted = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    painted.putpixel((1, 1), (0, 0, 0, 255))
    mask, _ = mask_of(file(tmp_path, painted), (4, 4))
    assert (mask.getpixel((1, 1)), mask.getpixel((0, 0))) == (255, 0)


def test_a_large_picture_is_shown_small_and_kept_large(shelf: FolderShelf) -> None:
    name = shelf.put(Image.new("RGB", (4000, 1500), "teal"))
    shown = displayed(shelf, name)
    assert shown is not None
    assert (shown["width"], shown["height"]) == (4000, 1500)
    with Image.open(shown["url"].removeprefix("gradio_api/file=")) as small:
        assert max(small.size) == LONGEST
    assert shelf.open(name).size == (4000, 1500)
    assert displayed(shelf, "0" * 32) is None


def test_a_canvas_is_told_the_frame_and_what_will_be_painted(shelf: FolderShelf) -> None:
    name = shelf.put(Image.new("RGB", (200, 100), "teal"))
    request = validated(tasks["outpaint"].request, {"source": name, "left": 40, "shape": "2:1"})
    shown = seen(request, shelf, fresh=5)
    assert shown["sides"] == [40, 10, 0, 10]
    assert shown["crop"]["box"][0] == -40
    assert shown["fresh"] == 5
    assert not shown["masks"]


def test_without_a_picture_a_canvas_shows_none(shelf: FolderShelf) -> None:
    shown = seen(validated(tasks["inpaint"].request, {"source": "0" * 32}), shelf, fresh=1)
    assert (shown["picture"], shown["crop"]) == (None, None)


def test_there_are_pictures_to_begin_with() -> None:
    assert len(samples()) >= 3
    assert all(each["thumb"].startswith("data:image/jpeg") for each in samples())


def test_a_thing_joins_a_mask_and_leaves_it() -> None:
    thing, before = Image.new("L", (4, 1)), Image.new("L", (4, 1))
    thing.paste(255, (0, 0, 2, 1))
    before.paste(255, (1, 0, 3, 1))
    assert list(joined(None, thing, less=False).tobytes()) == [255, 255, 0, 0]
    assert list(joined(before, thing, less=False).tobytes()) == [255, 255, 255, 0]
    assert list(joined(before, thing, less=True).tobytes()) == [0, 0, 255, 0]


@pytest.fixture(scope="module")
def modes() -> Modes:
    with gr.Blocks(analytics_enabled=False):
        drawn = Modes([tasks[name] for name in MODES], {"model": gr.Textbox("pocket", render=False)})
        drawn.draw_switch()
        for advanced in (False, True):
            drawn.draw(drawn.fields(advanced))
        drawn.connect()
    return drawn


@pytest.mark.parametrize("mode", MODES)
def test_what_a_form_of_many_modes_shows_it_gives_back(modes: Modes, mode: str) -> None:
    request = validated(tasks[mode].request, {"seed": 7, "prompt": "a cat", "source": "ab" * 16})
    values = [
        control.value if isinstance(shown, dict) else shown
        for control, shown in zip(modes.inputs, modes.show(request), strict=True)
    ]
    assert modes.read(values) == request


def test_modes_share_what_is_the_same_and_keep_apart_what_is_not(modes: Modes) -> None:
    held = {mode: form.controls for mode, form in modes.forms.items()}
    assert held["inpaint"]["prompt"] is held["edit"]["prompt"]
    assert held["inpaint"]["source"] is held["outpaint"]["source"]
    assert held["inpaint"]["strength"] is not held["repaint"]["strength"]


def test_a_form_of_many_modes_leaves_the_other_modes_alone(modes: Modes) -> None:
    before = validated(tasks["repaint"].request, {})
    after = validated(tasks["repaint"].request, {"strength": 0.3})
    changed = [shown for shown in modes.show(after, before) if not isinstance(shown, dict)]
    assert changed == [0.3]


def test_a_picture_that_is_none_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "none.png").write_bytes(b"no picture")
    with pytest.raises(StudioError, match="not a picture"):
        picture_in(tmp_path / "none.png")
    content = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(content, "PNG")
    (tmp_path / "bomb.png").write_bytes(content.getvalue())
    with pytest.raises(StudioError, match="larger than"):
        picture_in(tmp_path / "bomb.png")
