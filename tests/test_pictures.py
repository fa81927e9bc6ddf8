"""Pictures in and out: exact tensors, whole files, and a clear no to what cannot be opened."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from pipelines.errors import BadPicture
from pipelines.pictures import opened, to_pictures, to_pixels, write


def noise(width: int = 13, height: int = 7) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def saved(picture: Image.Image, kind: str = "PNG") -> BytesIO:
    file = BytesIO()
    picture.save(file, kind)
    return file


def test_a_picture_is_the_same_after_a_tensor() -> None:
    pixels = to_pixels(noise())
    assert tuple(pixels.shape) == (1, 3, 7, 13) and float(pixels.min()) >= -1 and float(pixels.max()) <= 1
    assert to_pictures(pixels)[0].tobytes() == noise().tobytes()


def bomb(width: int, height: int) -> BytesIO:
    """A PNG that names a huge size and holds nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return BytesIO(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [9_000, 12_000, 200_000])
def test_a_picture_bomb_is_refused_by_its_header(side: int) -> None:
    before = psutil.Process().memory_info().rss
    with pytest.raises(BadPicture, match="megapixels"):
        opened(bomb(side, side))
    assert psutil.Process().memory_info().rss - before < 50_000_000


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x89PNG\r\n\x1a\n" + b"\0" * 50]
)
def test_what_is_no_picture_is_refused_in_a_sentence(content: bytes) -> None:
    with pytest.raises(BadPicture):
        opened(BytesIO(content))


def test_a_picture_cut_off_is_refused() -> None:
    whole = saved(noise(200, 200)).getvalue()
    with pytest.raises(BadPicture, match="damaged"):
        opened(BytesIO(whole[: len(whole) // 2]))


def test_a_turned_photograph_is_opened_upright() -> None:
    file, turned = BytesIO(), Image.Exif()
    turned[0x0112] = 6
    noise(8, 4).save(file, "JPEG", exif=turned)
    assert opened(file).size == (4, 8)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write(path, b"first")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write(tmp_path / "folder", b"cannot replace a folder")
    write(path, b"second")
    assert path.read_bytes() == b"second"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.png", "folder"]
