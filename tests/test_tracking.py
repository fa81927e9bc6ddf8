"""DIFT as a tracker, on the built-in model and on toys of the real classes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.errors import StudioError
from pipelines.models import ModelSpec, load_folder, models
from pipelines.tracking import FINE, found, sighted
from pipelines.training.scenes import Backdrop, Item, Scene, draw
from tests.accounting import host
from tests.tiny.checkpoints import sd3


def test_points_of_a_thing_are_found_where_it_went() -> None:
    item = Item("panda", 0.35, 0.4, scale=0.4)
    there = Item("panda", 0.65, 0.58, scale=0.4)
    memory, spec = host(), models["pocket"]
    pictures = [draw(Scene((each,), Backdrop("snow", 3))) for each in (item, there)]
    before, after = (sighted(each, spec, memory) for each in pictures)
    assert before.shape[1:] == (FINE * spec.side // spec.factor,) * 2
    points = [(90.0 + dx, 102.0 + dy) for dx in (-30, 0, 30) for dy in (-25, 0, 25)]
    size = pictures[0].size
    by = np.array([(there.x - item.x) * size[0], (there.y - item.y) * size[1]])
    apart = np.array(found(before, after, points, size)) - (np.array(points) + by)
    assert (np.linalg.norm(apart, axis=1) <= 0.1 * item.scale * size[0]).mean() >= 0.6
    itself = np.array(found(before, before, points, size)) - np.array(points)
    assert np.linalg.norm(itself, axis=1).max() < 6


def test_a_point_lies_between_places_where_those_are_alike() -> None:
    maps = torch.zeros(3, 8, 8)
    maps[0] = 1
    maps[:, 4, 2:4] = torch.tensor([0.0, 1.0, 0.0])[:, None]
    ((x, y),) = found(maps, maps, [(22.0, 35.5)], (64, 64))
    assert (x, y) == pytest.approx((23.5, 35.5), abs=0.6)


def test_a_network_that_shows_no_maps_says_so_and_nothing_stays_hooked(toy: ModelSpec, tmp_path: Path) -> None:
    memory = host()
    assert sighted(Image.new("RGB", (70, 40), "red"), toy, memory).isfinite().all()
    with memory.use(toy.net) as net:
        assert not any(each._forward_hooks for each in net.modules())
    sd3(tmp_path / "sd3")
    with pytest.raises(StudioError, match="UNet"):
        sighted(Image.new("RGB", (32, 32)), load_folder(tmp_path / "sd3", "toy-sd3"), memory)
