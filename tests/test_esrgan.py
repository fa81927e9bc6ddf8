"""Enlargers in one file: read under both releases' names, computed as their papers say, refused where they are none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from pipelines.memory import Memory
from pipelines.models import models
from pipelines.models.esrgan import CompactEsrgan, Enlarger, Esrgan
from pipelines.models.folders import look
from pipelines.shelf import FolderShelf
from pipelines.stock import Stock
from pipelines.tasks import parse, run
from tests.accounting import result_of

OLD = ((r"^conv_first\.", "model.0."), (r"^body\.(\d+)\.rdb(\d)\.conv(\d)\.", r"model.1.sub.\1.RDB\2.conv\3.0."),
       (r"^conv_body\.", "model.1.sub.2."), (r"^conv_up1\.", "model.3."), (r"^conv_up2\.", "model.6."),
       (r"^conv_hr\.", "model.8."), (r"^conv_last\.", "model.10."))  # fmt: skip


def old(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights as the first release names them."""
    given = {}
    for name, value in state.items():
        for later, first in OLD:
            name = re.sub(later, first, name)
        given[name] = value
    return given


def made(kind: str, path: Path) -> Enlarger:
    """A small network of a kind, drawn by chance, and its file."""
    torch.manual_seed(5)
    net: Enlarger = {
        "x4": lambda: Esrgan(16, 8, 2, 1, 2), "old": lambda: Esrgan(16, 8, 2, 1, 2), "x2": lambda: Esrgan(16, 8, 1, 2, 2),
        "compact": lambda: CompactEsrgan(16, 3, 4),
    }[kind]()  # fmt: skip
    state = {name: value * 0.7 for name, value in net.state_dict().items()}
    net.load_state_dict(state)
    named = old(state) if kind == "old" else {f"params_ema.{k}": v for k, v in state.items()} if kind == "x2" else state
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in named.items()}, path)
    return net.eval()


def picture(side: int) -> Image.Image:
    y, x = np.mgrid[:side, :side] / 9
    return Image.fromarray((127 + 120 * np.stack([np.sin(x), np.cos(y), np.sin(x + y)], -1)).astype(np.uint8))


@pytest.fixture
def stock(tmp_path: Path) -> Iterator[Stock]:
    stock = Stock(tmp_path / "models")
    yield stock
    for name in list(models):
        if name in ("x4", "old", "x2", "compact"):
            models.remove(name)


@pytest.mark.parametrize(("kind", "times"), [("x4", 4), ("old", 4), ("x2", 2), ("compact", 4)])
def test_a_file_in_the_models_folder_enlarges_in_the_tab(
    kind: str, times: int, stock: Stock, memory: Memory, shelf: FolderShelf
) -> None:
    net = made(kind, stock.folder / "upscale_models" / f"{kind}.safetensors")
    stock.rescan()
    assert models[kind].enlarges == times
    start = picture(64)
    request = {"task": "upscale", "upscaler": "released", "model": kind, "source": shelf.put(start), "times": times}
    (done,) = result_of(run(parse({**request, "seed": 1}), memory, shelf)).pictures
    wanted = np.asarray((net(start)[0].permute(1, 2, 0).detach() + 1) * 127.5)
    assert done.picture.size == (64 * times, 64 * times)
    assert np.abs(np.asarray(done.picture, float) - wanted).mean() < 2.5  # half precision may decide a level


def test_dense_blocks_are_those_of_the_paper(tmp_path: Path) -> None:
    net = made("old", tmp_path / "old.safetensors")
    at = {name: value.detach() for name, value in old(dict(net.state_dict())).items()}

    def layer(name: str, x: Tensor) -> Tensor:
        return functional.conv2d(x, at[f"{name}.weight"], at[f"{name}.bias"], padding=1)

    def dense(name: str, x: Tensor) -> Tensor:
        found = [x]
        for k in range(1, 5):
            found.append(functional.leaky_relu(layer(f"{name}.conv{k}.0", torch.cat(found, 1)), 0.2))
        return layer(f"{name}.conv5.0", torch.cat(found, 1)) * 0.2 + x

    pixels = torch.rand(1, 3, 12, 10)
    first = x = layer("model.0", pixels)
    for block in range(2):
        seen = x
        for k in (1, 2, 3):
            seen = dense(f"model.1.sub.{block}.RDB{k}", seen)
        x = seen * 0.2 + x
    x = first + layer("model.1.sub.2", x)
    for name in ("model.3", "model.6"):
        x = functional.leaky_relu(layer(name, x.repeat_interleave(2, 2).repeat_interleave(2, 3)), 0.2)
    wanted = layer("model.10", functional.leaky_relu(layer("model.8", x), 0.2))
    torch.testing.assert_close(net.enlarged(pixels), wanted, rtol=1e-4, atol=1e-5)


def test_a_flat_picture_stays_flat_by_a_compact_one_that_adds_nothing() -> None:
    net = CompactEsrgan(8, 2, 2)
    torch.nn.init.zeros_(net.body[-1].weight)  # type: ignore[arg-type]
    torch.nn.init.zeros_(net.body[-1].bias)  # type: ignore[arg-type]
    pixels = torch.rand(1, 3, 5, 7)
    assert torch.equal(net.enlarged(pixels), pixels.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize("wrong", ["missing", "shape", "deep", "grey", "odd", "number", "x1"])
def test_what_is_no_enlarger_here_is_refused_in_a_sentence(wrong: str, tmp_path: Path) -> None:
    state = dict(Esrgan(8, 4, 1, 4 if wrong == "x1" else 1, 2).state_dict())
    if wrong == "missing":
        del state["conv_hr.weight"]
    if wrong == "shape":
        state["body.0.rdb2.conv3.weight"] = torch.zeros(4, 5, 3, 3)
    if wrong == "deep":
        state["body.999999999.rdb1.conv1.weight"] = torch.zeros(1)
    if wrong in ("grey", "odd"):
        state["conv_first.weight"] = torch.zeros(8, 1 if wrong == "grey" else 8, 3, 3)
    if wrong == "number":
        state[f"model.{'9' * 5000}.weight"] = torch.zeros(1)
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "odd.safetensors")
    reason = look(tmp_path / "odd.safetensors").reason
    assert reason.startswith("odd.safetensors") and reason.endswith(".")
    assert ("makes none larger" in reason) == (wrong == "x1")
