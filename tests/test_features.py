"""Click to mask: the thing under a click, and what the network shows of it."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from pipelines.errors import BadRequest, StudioError
from pipelines.features import Click, Seen, activations, contrast, depths, edges, layers, seen, selected
from pipelines.models import ModelSpec, models
from pipelines.training.scenes import Backdrop, Item, Scene, draw, masks
from tests.accounting import host


def told_apart(size: tuple[int, int] = (128, 96)) -> Seen:
    """Two discs before a plain wall, and features that know which is which."""
    y, x = np.mgrid[: size[1], : size[0]]
    discs = [(x - cx) ** 2 + (y - 48) ** 2 < 20**2 for cx in (32, 96)]
    kinds = np.stack([discs[0], discs[1], ~discs[0] & ~discs[1]]).astype(np.float32)
    picture = Image.fromarray((kinds * 200).astype(np.uint8).transpose(1, 2, 0))
    return Seen(size, (kinds,), edges(picture), depths(picture))


def overlap(mask: Image.Image, truth: np.ndarray) -> float:
    chosen = np.asarray(mask) > 127
    return float((chosen & truth).sum() / (chosen | truth).sum())


def is_to_a_place(mask: Image.Image, truth: np.ndarray) -> bool:
    """Whether a selection is a truth but for its outermost places."""
    chosen = np.asarray(mask) > 127
    return bool((chosen <= binary_dilation(truth, iterations=2)).all() and (chosen >= binary_erosion(truth)).all())


def test_clicks_add_things_and_take_them_away() -> None:
    sight = told_apart()
    left, right = (sight.features[0][k] > 0 for k in (0, 1))
    assert is_to_a_place(selected(sight, [Click(32, 48)]), left)
    both = [Click(32, 48), Click(96, 48)]
    assert is_to_a_place(selected(sight, both), left | right)
    assert overlap(selected(sight, [*both, Click(30, 40, adds=False)]), right) > 0.95
    assert not np.asarray(selected(sight, [])).any()


def test_a_click_outside_is_refused() -> None:
    with pytest.raises(BadRequest, match="outside"):
        selected(told_apart(), [Click(128, 0)])


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (800, 20)])
def test_any_picture_can_be_looked_at(toy: ModelSpec, size: tuple[int, int]) -> None:
    picture = Image.radial_gradient("L").resize(size).convert("RGBA")
    sight = seen(picture, toy, host())
    mask = selected(sight, [Click(size[0] // 2, size[1] // 2)])
    assert mask.size == size and mask.mode == "L" and np.asarray(mask).any()


def test_looking_leaves_no_hook_and_returns_the_network(toy: ModelSpec) -> None:
    memory = host()
    maps = activations(Image.new("RGB", (64, 64), "red"), toy, memory)
    assert len(maps) == 3 and all(each.dim() == 3 and bool(each.isfinite().all()) for each in maps)
    with memory.use(toy.net) as net:
        assert all(not layer._forward_hooks for layer in layers(net, toy))
    assert all(each.lent == 0 for each in memory.residents())
    with pytest.raises(StudioError, match="UNet"):
        layers(object(), toy)


def test_pocket_tells_a_thing_from_its_wall() -> None:
    scene = Scene((Item("apple", 0.3, 0.5), Item("dog", 0.72, 0.5)), Backdrop("blue", 3))
    sight = seen(draw(scene), models["pocket"], host())
    truth = [np.asarray(mask) > 127 for mask in masks(scene)]
    places = [Click(round(item.x * 256), round(item.y * 256)) for item in scene.items]
    found = [overlap(selected(sight, [place]), each) for place, each in zip(places, truth, strict=True)]
    assert min(found) > 0.5


def test_what_an_edge_encloses_lies_deep_even_behind_a_gap() -> None:
    scene = np.full((64, 64, 3), 40, np.uint8)
    scene[20:44, 20:44] = 200  # a thing of one colour ...
    scene[28:36, 28:36] = 90  # ... with another inside
    deep = depths(Image.fromarray(scene))
    inside = np.zeros((64, 64), bool)
    inside[20:44, 20:44] = True
    outside = np.ones((64, 64), bool)
    outside[17:47, 17:47] = False  # what smoothing mixes is neither
    assert deep[inside].min() > 2 * deep[outside].max()
    scene[31:33, 44:47] = 200  # an arm over the edge, and a gap where it fades
    scene[20, 30:32] = 120
    assert np.median(depths(Image.fromarray(scene))[inside]) > 2 * deep[outside].max()


def test_one_level_of_colour_has_no_edges_to_be_deep_behind() -> None:
    """The plain exit time of a walker on a line between two ends: x (n + 1 - x) / 2 in its middle row."""
    deep = depths(Image.new("RGB", (1, 1)))
    assert deep.shape == (1, 1) and deep[0, 0] == pytest.approx(1 / 4)  # four ways out, one step
    flat = depths(Image.new("RGB", (33, 33), "gray"))
    assert np.allclose(flat, flat.T, rtol=1e-4) and flat.argmax() == 33 * 33 // 2


def test_a_region_stands_out_by_itself_and_less_together_with_what_touches_it() -> None:
    alike = np.full((32, 32), -0.2, np.float32)
    alike[8:16, 8:16], alike[8:16, 16:24] = 0.9, 0.1  # the thing clicked, and another beside it
    one, both, part = (np.zeros((32, 32), bool) for _ in range(3))
    one[8:16, 8:16] = both[8:16, 8:24] = part[10:14, 10:14] = True
    assert contrast(one, alike) > contrast(both, alike) > 0
    assert contrast(one, alike) > contrast(part, alike)
    assert contrast(np.ones((32, 32), bool), alike) == 0
