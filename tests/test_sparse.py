"""Sparse fine-tuning: which weights learn, how they rest, what holds them to a low rank, and what their files do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from pipelines.adapters import painting_with
from pipelines.errors import BadCheckpoint
from pipelines.exchange import exported, mixed
from pipelines.lessons import LAYERS, LoraPupil, layers_named
from pipelines.memory import Memory
from pipelines.models import ModelSpec
from pipelines.models.adapters import adapter_of, adapters
from pipelines.models.headers import recognised
from pipelines.models.sparse import Sparse
from pipelines.shelf import FolderShelf
from pipelines.sparing import SparsePupil, nuclear, threshold
from tests.test_personalize import asked, learned, picture, taught

SARA = {"name": "sara", "knobs": {"share": 0.1, "low_rank": 0.01}}


def changes(tensors: dict[str, torch.Tensor]) -> dict[str, Sparse]:
    names = {key.rpartition(".")[0] for key in tensors}
    return {
        name.removeprefix("unet."): Sparse.read(
            {role: tensors[f"{name}.{role}"] for role in ("sparse_values", "sparse_places", "sparse_shape")},
            torch.float32,
        )
        for name in names
    }


def test_the_least_weights_learn_and_no_others(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    taught(asked(shelf, steps=4, rate=0.02, kind="cat", method=SARA), memory, shelf)
    with memory.use(toy.net) as net:
        layers = {name: each.weight.detach().flatten() for name, each in layers_named(net, LAYERS).items()}
        least = threshold(layers_named(net, LAYERS), 0.1)
    found = changes(learned())
    count = sum(len(each.at) for each in found.values())
    assert count == pytest.approx(0.1 * sum(len(each) for each in layers.values()), rel=0.01)
    for name, change in found.items():
        assert float(layers[name][change.at.long()].abs().max()) < least
    assert sum(int((each.values != 0).sum()) for each in found.values()) > 0.5 * count


def test_in_the_second_half_what_has_grown_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    pupil = object.__new__(SparsePupil)
    pupil.subject, pupil.low_rank, pupil.threshold = SimpleNamespace(steps=8), 0.0, 0.1
    pupil.changes = {"a": Sparse(torch.tensor([0.0, 0.3, -0.3, -0.05]), torch.arange(4), (2, 2))}
    pupil.began = {"a": torch.tensor([0.05, -0.05, 0.09, -0.09])}
    values = pupil.weights["a"].requires_grad_(True)
    monkeypatch.setattr(LoraPupil, "losses", lambda self, chance, step: iter([3 * values.sum()]))

    def slopes(step: int) -> list[float]:
        values.grad = None
        for loss in pupil.losses(torch.Generator(), step):
            loss.backward()
        return values.grad.tolist()

    assert slopes(3) == [3, 3, 3, 3]
    assert slopes(4) == [3, 0, 0, 0]
    assert slopes(3) == [3, 3, 3, 3]  # nothing is left on them


def test_the_nuclear_norm_and_its_slope_are_those_of_the_singular_values() -> None:
    shape, places = (6, 4, 3, 3), torch.randperm(216)[:150].sort().values
    change = Sparse(torch.randn(150), places, shape)
    change.values.requires_grad_(True)
    mine = nuclear(change)
    (slope,) = torch.autograd.grad(mine, change.values)
    theirs = torch.linalg.matrix_norm(change.matrix(), "nuc")
    (wanted_slope,) = torch.autograd.grad(theirs, change.values)
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(slope, wanted_slope, rtol=1e-3, atol=1e-3)
    none = Sparse(torch.zeros(150), places, shape)
    assert float(nuclear(none)) == 0


def test_more_weight_on_low_rank_leaves_a_lower_rank(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    norms = []
    for word, low_rank in (("zorp", 0.0), ("blick", 1.0)):
        method = {"name": "sara", "knobs": {"share": 0.1, "low_rank": low_rank}}
        taught(asked(shelf, steps=30, rate=0.01, word=word, method=method), memory, shelf)
        norms.append(
            sum(float(torch.linalg.matrix_norm(each.matrix(), "nuc")) for each in changes(learned(word)).values())
        )
    assert norms[1] < 0.9 * norms[0]


@pytest.mark.parametrize("layer", [nn.Linear(5, 7), nn.Conv2d(4, 6, 3, 2, 1)])
def test_a_change_answers_as_the_changed_layer_does(layer: nn.Module) -> None:
    weight = layer.weight
    places = torch.randperm(weight.numel())[:20]
    change = Sparse(torch.randn(20), places, tuple(weight.shape))
    x = torch.randn(3, 5) if isinstance(layer, nn.Linear) else torch.randn(2, 4, 9, 8)
    before = layer(x)
    assert change.fits(layer)
    with torch.no_grad():
        weight.view(-1)[places] += change.values
    torch.testing.assert_close(layer(x), before + change.change(layer, x))


def test_files_paint_the_same_as_single_weights_and_as_a_whole_change(
    toy: ModelSpec,
    memory: Memory,
    shelf: FolderShelf,
    tmp_path: Path,
) -> None:
    taught(asked(shelf, steps=3, rate=0.05, method=SARA), memory, shelf)
    path = tmp_path / "whole.safetensors"
    path.write_bytes(exported(adapters["zorp"], "kohya"))
    assert all(key.startswith("lora_unet_") and key.endswith(".diff") for key in load_file(path))
    with safe_open(path, "pt") as file:
        said = file.metadata()
    assert said["ss_network_module"] == "lycoris.kohya" and "ss_network_dim" not in said
    adapters.add("whole", adapter_of(path, "whole", recognised(path)))
    x, cond, answers = torch.randn(1, 4, 32, 32), {"encoder_hidden_states": torch.randn(1, 77, 32)}, []
    with torch.inference_mode(), memory.use(toy.net) as net:
        for name in ("zorp", "whole"):
            with painting_with(net, {name: 1.0}, toy, memory):
                answers.append(net(x, timestep=torch.tensor([500]), **cond).sample)
        bare = net(x, timestep=torch.tensor([500]), **cond).sample
    torch.testing.assert_close(*answers)
    assert float((answers[0] - bare).abs().max()) > 1e-4
    with pytest.raises(BadCheckpoint, match="changes single weights"):
        mixed({"zorp": 1.0}, "soup", shelf.workshop())


@pytest.mark.parametrize("fault", ["places beyond the layer", "another shape", "a part missing", "values of a square"])
def test_a_damaged_file_is_refused_in_a_sentence(
    toy: ModelSpec,
    memory: Memory,
    shelf: FolderShelf,
    tmp_path: Path,
    fault: str,
) -> None:
    taught(asked(shelf, steps=1, method=SARA), memory, shelf)
    held = load_file(adapters["zorp"].path)
    stem = next(iter(held)).rpartition(".")[0]
    if fault == "places beyond the layer":
        held[f"{stem}.sparse_places"][0] = 2**31 - 1
    elif fault == "another shape":
        held[f"{stem}.sparse_shape"] = torch.tensor([2**40, 2**20])
    elif fault == "a part missing":
        del held[f"{stem}.sparse_places"]
    else:
        held[f"{stem}.sparse_values"] = torch.zeros(2, 2)
    path = tmp_path / "odd.safetensors"
    save_file(held, path)
    adapters.add("odd", replace(adapter_of(path, "odd", recognised(path)), base=""))
    with pytest.raises(BadCheckpoint, match="odd"):
        picture(memory, "a cat", adapters=("odd",))
