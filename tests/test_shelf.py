"""The shelf: pictures that requests name by their content."""

from pathlib import Path

import pytest
from PIL import Image

from pipelines.errors import BadRequest
from pipelines.library import Library
from pipelines.shelf import FolderShelf


@pytest.mark.parametrize(("mode", "kept"), [("RGB", "RGB"), ("L", "L"), ("RGBA", "RGBA"), ("CMYK", "RGB"), ("1", "L")])
def test_a_picture_comes_back_as_it_was(tmp_path: Path, mode: str, kept: str) -> None:
    shelf, picture = FolderShelf(tmp_path), Image.radial_gradient("L").convert(mode)
    back = shelf.open(shelf.put(picture))
    assert back.mode == kept and back.tobytes() == picture.convert(kept).tobytes()


def test_equal_pictures_are_kept_once_and_others_apart(tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path)
    red, blue = Image.new("RGB", (3, 2), "red"), Image.new("RGB", (3, 2), "blue")
    assert shelf.put(red) == shelf.put(red.copy()) != shelf.put(blue)
    assert shelf.put(Image.new("RGB", (2, 3), "red")) != shelf.put(red)
    assert len(list(tmp_path.glob("*"))) == 3


@pytest.mark.parametrize("name", ["", "../library", "0" * 32, "/etc/passwd", "a" * 31 + "\n"])
def test_an_unknown_name_is_a_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadRequest, match="not here"):
        FolderShelf(tmp_path).open(name)


def test_an_owner_cannot_open_what_another_put_there(tmp_path: Path) -> None:
    library = Library(tmp_path)
    name = library.shelf("ann").put(Image.new("RGB", (2, 2)))
    assert library.shelf("ann").open(name).size == (2, 2)
    with pytest.raises(BadRequest):
        library.shelf("bob").open(name)


def test_what_a_file_says_of_itself_is_not_kept(tmp_path: Path) -> None:
    picture = Image.new("RGB", (2, 2))
    picture.info["comment"] = "secret"
    shelf = FolderShelf(tmp_path)
    assert b"secret" not in (tmp_path / f"{shelf.put(picture)}.png").read_bytes()
