"""What becomes of pictures that are brought to be enlarged, whatever they are, and what the page is told of them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from pipelines.errors import StudioError
from pipelines.request import validated
from pipelines.shelf import FolderShelf
from pipelines.tasks.upscale import MOST, Upscale
from studio.pile import Pile

Upload = Callable[..., dict[str, Any]]


@pytest.fixture
def pile() -> Pile:
    return Pile("upscale", None)  # type: ignore[arg-type]  # nothing runs here


@pytest.fixture
def uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upload:
    """Puts a file where a page puts it, and says it as a page does."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))

    def upload(content: bytes | Image.Image, name: str = "picture.png", **how: Any) -> dict[str, Any]:
        path = Path(get_upload_folder()) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Image.Image):
            content.save(path, **how)
        else:
            path.write_bytes(content)
        return {"path": str(path), "name": name, "size": path.stat().st_size}

    return upload


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def enormous(width: int, height: int) -> bytes:
    """A PNG whose header says it is so large."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def brought(pile: Pile, shelf: FolderShelf, *files: dict[str, Any], held: tuple[str, ...] = ()) -> tuple[Upscale, str]:
    changes, note = pile.brought({"files": list(files), "held": list(held)}, shelf, Upscale())
    return validated(Upscale, changes), note


@pytest.mark.parametrize(
    ("picture", "name", "mode", "words"),
    [
        (Image.new("RGB", (1, 1), "red"), "dot.png", "RGB", ""),
        (Image.new("RGB", (3, 5000), "red"), "ribbon.png", "RGB", ""),
        (Image.new("L", (9, 9), 7), "grey.png", "L", ""),
        (Image.new("LA", (9, 9), (7, 40)), "clear grey.png", "RGBA", ""),
        (Image.new("RGBA", (9, 9), (1, 2, 3, 4)), "clear.png", "RGBA", ""),
        (Image.new("P", (9, 9), 3), "palette.png", "RGB", ""),
        (Image.new("1", (9, 9), 1), "bits.png", "L", ""),
        (Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "ink.jpg", "RGB", "ink.jpg: Its inks"),
        (Image.fromarray(np.full((9, 9), 40_000, np.uint16)), "deep.png", "L", "deep.png: Its brightness"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_picture_of_any_kind_is_taken_and_what_changed_is_said(
    pile: Pile, shelf: FolderShelf, uploaded: Upload, picture: Image.Image, name: str, mode: str, words: str
) -> None:
    request, note = brought(pile, shelf, uploaded(picture, name))
    kept = shelf.open(request.source)
    assert (kept.mode, kept.size) == (mode, picture.size)
    assert note.startswith(words) and bool(note) == bool(words)
    (card,) = pile.seen(request, shelf, 1)["pictures"]
    assert card["title"] == name and card["becomes"] == [4 * picture.width, 4 * picture.height]


def test_of_a_moving_picture_the_first_frame_is_taken_and_that_is_said(
    pile: Pile, shelf: FolderShelf, uploaded: Upload
) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    request, note = brought(pile, shelf, uploaded(frames[0], "moving.gif", save_all=True, append_images=frames[1:]))
    assert shelf.open(request.source).convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    assert note.startswith("moving.gif: It has several frames")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (png(Image.effect_noise((64, 64), 90))[:-900], "bad.png: The picture is damaged"),
        (b"hello", "bad.png: This is not a picture"),
        (b"", "bad.png: This is not a picture"),
        (enormous(10_000, 10_000), "bad.png: The picture is larger than the 64 megapixels"),
    ],
    ids=["truncated", "text", "empty", "100 megapixels"],
)
def test_one_broken_file_among_good_ones_is_named_and_the_others_are_taken(
    pile: Pile, shelf: FolderShelf, uploaded: Upload, content: bytes, words: str
) -> None:
    good = [uploaded(Image.new("RGB", (5, 5), colour), f"{colour}.png") for colour in ("red", "blue")]
    request, note = brought(pile, shelf, good[0], uploaded(content, "bad.png"), good[1])
    assert len(request.sources()) == 2
    assert words in note and "red.png" not in note and "blue.png" not in note
    with pytest.raises(StudioError, match=words):  # alone, it is an error
        brought(pile, shelf, uploaded(content, "bad.png"))
    assert not any(Path(get_upload_folder()).iterdir())  # what was uploaded is gone


def test_pictures_gather_each_once_and_can_be_taken_out_again(pile: Pile, shelf: FolderShelf, uploaded: Upload) -> None:
    red, blue = (Image.new("RGB", (5, 5), colour) for colour in ("red", "blue"))
    first, _ = brought(pile, shelf, uploaded(red))
    both, _ = brought(pile, shelf, uploaded(red), uploaded(blue, "b.png"), held=first.sources())
    assert both.sources() == (first.source, shelf.put(blue))
    held = {"held": list(both.sources())}
    assert pile.removed({**held, "name": first.source}, shelf, both)[0] == {"source": shelf.put(blue), "more": ()}
    assert pile.removed(held, shelf, both)[0] == {"source": "", "more": ()}
    assert pile.named(held) == {"source": both.source, "more": both.more}
    assert pile.named({}) == {}


def test_no_more_pictures_are_taken_than_one_request_holds(pile: Pile, shelf: FolderShelf, uploaded: Upload) -> None:
    held = tuple(f"{k:032x}" for k in range(MOST - 1))
    files = [uploaded(Image.new("L", (2, 2), level), f"{level}.png") for level in (1, 2)]
    request, note = brought(pile, shelf, *files, held=held)
    assert len(request.sources()) == MOST
    assert note == f"No more than {MOST} pictures are taken at a time."


def test_a_file_larger_than_the_studio_takes_is_named(pile: Pile, shelf: FolderShelf) -> None:
    with pytest.raises(StudioError, match=r"huge.tif: .*64 MB"):
        brought(pile, shelf, {"path": "", "name": "huge.tif", "size": 2**30})


def test_a_picture_that_cannot_be_enlarged_so_far_says_so_before_the_work(pile: Pile, shelf: FolderShelf) -> None:
    small, large = shelf.put(Image.new("L", (10, 8))), shelf.put(Image.new("L", (5000, 2000)))
    request = validated(Upscale, {"source": small, "more": [large, "0" * 32], "times": 8})
    first, second = pile.seen(request, shelf, 1)["pictures"]  # the third is not here
    assert first["becomes"] == [80, 64] and "refused" not in first
    assert second["refused"].startswith("Times: the result would have 40000 x 16000 pixels") and "becomes" not in second


def test_the_script_of_a_pile_knows_examples_and_limits_whatever_becomes_of_its_props(pile: Pile) -> None:
    with gr.Blocks():
        pile.draw()
    script = str(pile.sheet.js_on_load)
    assert f"const MOST = {MOST};" in script and '"title": "whale"' in script
