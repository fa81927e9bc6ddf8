"""What the compact upscaler learns on and from: pictures that are the same everywhere, damage in order, a first gain."""

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from pipelines.models.compact import FILE, compact_part, load_compact
from pipelines.training import upscale
from pipelines.training.damage import damaged, shrunk
from pipelines.training.strokes import line_art


def test_a_name_stands_for_the_same_pairs_and_another_for_others() -> None:
    first, again, other = (upscale.pairs(name, 2, 3, 16) for name in ("a", "a", "b"))
    assert torch.equal(first.small, again.small) and torch.equal(first.large, again.large)
    assert not torch.equal(first.large, other.large)
    assert first.small.shape == (3, 3, 16, 16) and first.large.shape == (3, 3, 32, 32)
    assert float(first.restore[1]) == 0 and float(first.restore[0]) > 0


@pytest.mark.parametrize("times", [2, 4])
def test_damage_grows_with_its_strength_and_at_none_is_only_shrinking(times: int) -> None:
    pictures = [upscale.whole(Random(f"p {k}"), 64) for k in range(12)]
    clean = [shrunk(each, times) for each in pictures]

    def error(strength: float) -> float:
        found = [damaged(each, times, strength, Random(k)) for k, each in enumerate(pictures)]
        return float(np.mean([np.abs(np.asarray(a, int) - np.asarray(b, int)).mean() for a, b in zip(found, clean)]))

    assert error(0) == 0 < error(0.3) < error(1.0)


def test_line_art_is_drawn_at_any_side_and_never_blank() -> None:
    drawings = [line_art(Random(k), 96) for k in range(8)]
    assert all(each.size == (96, 96) and np.asarray(each).std() > 3 for each in drawings)


def test_a_few_steps_of_training_beat_interpolation_and_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "compact.safetensors"
    words = ["--steps", "100", "--width", "12", "--blocks", "1", "--side", "16", "--batch", "4", "--examined", "4"]
    upscale.main([*words, "--rate", "0.004", "--run", str(tmp_path / "run"), "--out", str(out)])
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["gain_x2_0"] > 0.1
    net = load_compact(out)
    assert (net.width, len(net.blocks)) == (12, 1)
    assert compact_part(out).elements == sum(each.numel() for each in net.parameters())


def test_weights_that_ship_are_small() -> None:
    assert not FILE.exists() or FILE.stat().st_size <= 4 * 2**20
