"""Frames: which part of a picture is painted, and how large, for every size of picture and mask."""

import pytest

from pipelines.frames import LONGEST, Frame, frame

SIZES = [(1, 1), (37, 53), (256, 256), (300, 220), (1000, 700), (8000, 20), (20, 8000), (6000, 5000)]


def boxes(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    width, height = size
    return [
        (0, 0, width, height),
        (0, 0, 1, 1),
        (width - 1, height - 1, width, height),
        (width // 3, height // 3, width // 3 + max(1, width // 5), height // 3 + max(1, height // 5)),
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [64, 256, 1024])
def test_a_frame_holds_its_box_lies_in_the_picture_and_can_be_painted(size: tuple[int, int], side: int) -> None:
    for box in boxes(size):
        found = frame(size, box, side, 32, margin=16)
        left, top, right, bottom = found.box
        assert 0 <= left <= box[0] and box[2] <= right <= size[0] and 0 <= top <= box[1] and box[3] <= bottom <= size[1]
        assert found.outer_width % 32 == found.outer_height % 32 == 0
        assert 0 <= found.outer_width - found.width < 32 and 0 <= found.outer_height - found.height < 32
        assert max(found.width, found.height) <= LONGEST * side + 1
        assert found.width * found.height <= 1.6 * side**2 + 4 * side


def test_a_picture_of_the_models_size_is_painted_whole_and_pixel_by_pixel() -> None:
    for size in ((256, 256), (250, 250), (320, 192), (288, 288)):
        found = frame(size, (10, 10, 20, 20), 256, 32, margin=8)
        assert found.box == (0, 0, *size) and (found.width, found.height) == size and found.scale == 1


@pytest.mark.parametrize("size", [(256, 256), (320, 192), (288, 288)])
def test_a_small_box_is_painted_close_up_where_that_is_wanted(size: tuple[int, int]) -> None:
    small = frame(size, (100, 80, 160, 130), 256, 32, margin=64, close=True)
    left, top, right, bottom = small.box
    assert left <= 68 and right >= 192 and top <= 48 and bottom >= 162 and 1.25 < small.scale <= 2
    assert small.width * small.height == pytest.approx(256**2, rel=0.02)
    large = frame(size, (10, 10, size[0] - 10, size[1] - 10), 256, 32, margin=64, close=True)
    assert large.box == (0, 0, *size) and large.scale == 1
    icon = frame((48, 48), (10, 10, 14, 14), 256, 32, margin=64, close=True)
    assert icon.box == (0, 0, 48, 48)


def test_in_a_larger_picture_the_part_around_the_mask_is_painted_at_full_resolution() -> None:
    found = frame((4000, 3000), (1900, 1400, 2000, 1500), 512, 64, margin=64)
    assert found.scale >= 1 and found.box[2] - found.box[0] <= 512
    assert found.box[0] <= 1900 - 64 and found.box[2] >= 2000 + 64
    assert frame((4000, 3000), (0, 0, 4000, 3000), 512, 64).scale < 0.2


def test_more_detail_paints_more_pixels() -> None:
    small, large = (frame((4000, 3000), (0, 0, 4000, 3000), 512, 64, detail=detail) for detail in (1.0, 2.0))
    assert large.scale == pytest.approx(2 * small.scale, rel=0.01)


def test_a_frame_is_told_in_a_sentence() -> None:
    assert str(Frame((10, 20, 110, 220), 256, 512, 256, 512)) == (
        "100 x 200 pixels from (10, 20), painted at 256 x 512: 2.6 times the picture's own resolution"
    )
