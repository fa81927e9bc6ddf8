"""Tiles cover a picture once, lie where they should, and give what the whole would."""

from collections.abc import Callable
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.evidence import held, residual, unexplained
from pipelines.frames import Box
from pipelines.models import ModelSpec
from pipelines.models.compact import Compact
from pipelines.mosaic import BORDER, STEP, decoded, encoded, filled, joined, side_of, tiled, unpainted
from pipelines.tiles import Tile, alike, overlapping, shifted
from tests.accounting import host

SIZES = [(1, 1), (3, 5000), (64, 64), (65, 63), (200, 130), (96, 97)]


def covered(size: tuple[int, int], boxes: list[Box]) -> np.ndarray:
    """How often each place lies in a box."""
    times = np.zeros((size[1], size[0]), int)
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
        times[top:bottom, left:right] += 1
    return times


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_overlapping_tiles_answer_for_each_place_once_and_see_their_halo(size: tuple[int, int]) -> None:
    tiles = overlapping(size, 64, 7)
    assert (covered(size, [tile.inner for tile in tiles]) == 1).all()
    for tile in tiles:
        seen = [abs(inner - outer) for inner, outer in zip(tile.inner, tile.outer, strict=True)]
        at_edge = [tile.inner[0] == 0, tile.inner[1] == 0, tile.inner[2] == size[0], tile.inner[3] == size[1]]
        assert all(reach == 0 if edge else reach <= 7 for reach, edge in zip(seen, at_edge, strict=True))
        assert all(reach == 7 or outer in (0, *size) for reach, outer in zip(seen, tile.outer, strict=True))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_tiles_that_are_alike_read_as_much_each_and_no_less_than_their_halo(size: tuple[int, int]) -> None:
    tiles = alike(size, 64, 7)
    assert (covered(size, [tile.inner for tile in tiles]) == 1).all()
    for tile in tiles:
        assert tile.outer[2] - tile.outer[0] == min(64, size[0]) and tile.outer[3] - tile.outer[1] == min(64, size[1])
        seen = [abs(inner - outer) for inner, outer in zip(tile.inner, tile.outer, strict=True)]
        ends = zip(seen, tile.outer, (*size, *size), strict=True)
        assert all(reach >= 7 or outer in (0, edge) for reach, outer, edge in ends)


def test_a_tile_that_is_all_halo_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="does not hold a halo"):
        alike((100, 100), 14, 7)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_shifted_tiles_cover_each_place_once_and_bound_what_a_network_holds(size: tuple[int, int]) -> None:
    for seed in range(40):
        boxes = shifted(size, 64, 4, Random(seed))
        assert (covered(size, boxes) == 1).all()
        for left, top, right, bottom in boxes:
            assert right - left <= 96 and bottom - top <= 96
            assert right - left >= min(32, size[0]) and bottom - top >= min(32, size[1])
            assert left % 4 == 0 and top % 4 == 0


def test_shifted_tiles_lie_elsewhere_each_time() -> None:
    rng = Random(0)
    cuts = [{box[0] for box in shifted((512, 64), 64, 4, rng)} - {0} for _ in range(60)]
    assert len(set().union(*cuts)) > 0.9 * (512 - 2 * 32) / 4  # every place that may be one becomes an edge


def test_a_tile_too_small_for_the_network_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="two steps"):
        shifted((100, 100), 4, 4, Random(0))


@pytest.mark.parametrize(("cut", "side"), [(overlapping, 13), (alike, 21)])
@pytest.mark.parametrize("times", [2, 4])
@pytest.mark.parametrize("size", [(45, 31), (1, 1), (3, 70)], ids=str)
def test_a_convolutional_network_gives_the_same_on_tiles_as_on_the_whole(
    size: tuple[int, int], times: int, cut: Callable[[tuple[int, int], int, int], list[Tile]], side: int
) -> None:
    torch.manual_seed(0)
    net = Compact(8, 2)
    for each in net.parameters():
        each.data.normal_(0, 0.2)
    pixels = torch.randn(1, 3, size[1], size[0])
    whole, parts = net(pixels, times, 0.3), torch.zeros(1, 3, size[1] * times, size[0] * times)
    for tile in cut(size, side, net.halo):
        left, top, right, bottom = tile.outer
        found = net(pixels[..., top:bottom, left:right], times, 0.3)
        a, b, c, d = tile.kept(times)
        left, top, right, bottom = tile.placed(times)
        parts[..., top:bottom, left:right] = found[..., b:d, a:c]
    assert torch.allclose(parts, whole, atol=1e-4)


def test_a_picture_can_be_painted_over_while_its_tiles_are_read_as_they_were() -> None:
    levels = np.random.default_rng(1).integers(0, 255, (80, 64, 3), dtype=np.uint8)
    picture, tiles = Image.fromarray(levels), overlapping((16, 20), 6, 2)
    read, seen = unpainted(picture, tiles, 4), []

    def part(tile: Tile) -> Image.Image:
        box = [edge * 4 for edge in tile.outer]
        seen.append(np.array_equal(np.asarray(read(tile)), levels[box[1] : box[3], box[0] : box[2]]))
        right, down = (4 * edge for edge in tile.kept()[2:])
        return Image.new("RGB", (right, down), "red")

    drawing = joined(tiles, 4, picture.size, part, picture)
    assert len(list(drawing)) == len(tiles) == len(seen) and all(seen)
    assert (np.asarray(picture) == (255, 0, 0)).all()


def test_the_halo_is_no_wider_than_the_network_sees() -> None:
    torch.manual_seed(0)
    net = Compact(8, 2)
    for each in net.parameters():
        each.data.normal_(0, 0.3)
    pixels = torch.randn(1, 3, 1, 41, requires_grad=True)
    net(pixels, 2)[0, :, 0, 40].sum().backward()
    reach = (pixels.grad[0].abs().sum((0, 1)) > 0).nonzero().flatten() - 20  # type: ignore[index]
    assert int(reach.abs().max()) == net.halo


def photograph(width: int, height: int) -> Image.Image:
    """Smooth tones with some edges."""
    y, x = np.mgrid[:height, :width] / 40
    levels = 128 + 60 * np.sin(x + y) + 50 * np.sign(np.sin(3 * x - y))
    return Image.fromarray(np.stack([levels, levels[::-1], levels[:, ::-1]], -1).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("small", [(100, 75), (133, 100), (50, 38), (1, 1)], ids=str)
def test_what_is_held_to_the_evidence_explains_it(small: tuple[int, int]) -> None:
    large = photograph(200, 150)
    seen = large.resize(small, Image.Resampling.BICUBIC)
    blurred = seen.resize(large.size, Image.Resampling.BILINEAR)
    assert residual(large, seen) < 2e-3  # but for the rounding of the small picture
    assert residual(held(blurred, seen), seen) < min(1.5e-3, residual(blurred, seen) + 1e-9)


def test_strips_shrink_as_the_whole_does(monkeypatch: pytest.MonkeyPatch) -> None:
    large, small = photograph(150, 301), photograph(60, 111)
    whole = unexplained(large, small)
    monkeypatch.setattr("pipelines.evidence.at_once", lambda width: 17)
    assert np.abs(unexplained(large, small) - whole).max() < 0.01


def test_coarse_tones_come_back_and_fine_ones_stay() -> None:
    large = photograph(200, 150)
    seen = large.resize((100, 75), Image.Resampling.BICUBIC)
    shifted_tones = Image.fromarray((np.asarray(large) * 0.8).astype(np.uint8))
    back = held(shifted_tones, seen, 3, smooth=4.0)
    assert residual(back, seen) < 0.5 * residual(shifted_tones, seen)


def test_the_walk_of_a_tiled_network_is_that_of_the_whole_where_it_looks_at_places_alone() -> None:
    x, sigma = torch.randn(1, 4, 70, 90), torch.tensor(2.0)
    alone = tiled(lambda part, s, conds: [part * s for _ in conds], 32, Random(3))
    found = alone(x, sigma, [None, None])  # type: ignore[list-item]
    assert len(found) == 2 and all(torch.equal(each, x * 2) for each in found)


def test_a_picture_read_and_decoded_in_tiles_is_that_of_the_whole_but_for_what_norms_say(toy: ModelSpec) -> None:
    memory, side = host(), side_of(toy) * toy.factor
    picture = filled(photograph(2 * side + 5, side + 9), STEP * toy.factor)
    with torch.inference_mode():
        latents = encoded(toy, memory, picture)
        back = decoded(toy, memory, latents)
    assert latents.shape[-2:] == (picture.height // toy.factor, picture.width // toy.factor)
    assert back.size == picture.size and latents.isfinite().all()


def test_what_is_decoded_fades_from_tile_to_tile(toy: ModelSpec) -> None:
    """Tiles that do not agree at all leave no step at their borders."""
    from dataclasses import replace

    shades = iter(np.linspace(-1, 1, 64))
    flat = replace(toy, decode=lambda vae, x: torch.full((1, 3, *(toy.factor * s for s in x.shape[-2:])), next(shades)))
    side = side_of(toy)
    with torch.inference_mode():
        levels = np.asarray(decoded(flat, host(), torch.zeros(1, 4, 2 * side, 3 * side)), int)
    apart = 255 / 64 * 4  # levels between tiles above one another, about
    limit = 1 + 3 * apart / (BORDER * toy.factor)
    assert np.ptp(levels) > 10
    assert max(np.abs(np.diff(levels, axis=0)).max(), np.abs(np.diff(levels, axis=1)).max()) <= max(2, limit)
