"""Several beginnings of one painting: counted, told as one walk, and the one that fits best goes on."""

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines import beginnings
from pipelines.beginnings import APART, around, first_steps
from pipelines.events import Progress
from pipelines.memory import Memory
from pipelines.models import ModelSpec
from pipelines.shelf import FolderShelf
from pipelines.tasks import parse, run
from tests.accounting import result_of

STEPS = 10
QUICK = {"task": "inpaint", "model": "toy", "steps": STEPS, "prompt": "a red cat", "sampler": "ddim", "close": False}


def asked(shelf: FolderShelf, **values: object) -> object:
    levels = np.random.default_rng(3).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    names = {"source": shelf.put(Image.fromarray(levels)), "mask": shelf.put(mask)}
    return parse({**QUICK, **names, "seed": 5, **values})


def painted(memory: Memory, shelf: FolderShelf, **values: object) -> bytes:
    with torch.inference_mode():
        (one,) = result_of(run(asked(shelf, **values), memory, shelf)).pictures  # type: ignore[arg-type]
    assert one.picture is not None
    return one.picture.tobytes()


def test_each_beginning_takes_a_third_of_a_walk_and_all_of_it_is_told_as_one(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    counted: list[int] = []
    with memory.use(toy.net) as net, torch.inference_mode():
        hook = net.register_forward_pre_hook(lambda *_: counted.append(1))
        told = list(run(asked(shelf, tries=3), memory, shelf))  # type: ignore[arg-type]
        hook.remove()
    total = 3 * first_steps(STEPS) + STEPS - first_steps(STEPS)
    assert len(counted) == total == 16
    steps = [(each.step, each.steps) for each in told if isinstance(each, Progress)]
    assert steps == [(k, total) for k in range(1, total + 1)]


@pytest.mark.parametrize("best", [0, 1, 2])
def test_what_fits_best_goes_on_as_if_it_had_been_the_only_one(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, monkeypatch: pytest.MonkeyPatch, best: int
) -> None:
    alone = painted(memory, shelf, tries=1, seed=5 + best * APART)
    begun: list[int] = []

    def looking(pins: object, near: object, missed: list[float]) -> object:
        begun.append(1)
        missed.append(0.0 if len(begun) == best + 1 else 1.0)
        return pins.held  # type: ignore[attr-defined]

    monkeypatch.setattr(beginnings, "looking", looking)
    assert painted(memory, shelf, tries=3) == alone
    assert len(begun) == 3


def test_a_beginning_that_shows_the_source_around_the_mask_misses_less(toy: ModelSpec) -> None:
    source = torch.randn(1, 4, 16, 16)
    holes = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    holes[..., 4:12, 4:12] = True
    near = around(holes)
    assert not bool((near & holes).any()) and int(near.sum()) == 12 * 12 - 8 * 8

    class Pins:
        ground = type("Ground", (), {"latents": source})

        def held(self, denoised: torch.Tensor, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            return denoised

    inside, beyond = source.clone(), source.clone()
    inside[..., 4:12, 4:12] += 5
    beyond[..., 3:12, 4:12] += 5
    missed: list[float] = []
    look = beginnings.looking(Pins(), near, missed)  # type: ignore[arg-type]
    for denoised in (inside, beyond):
        look(denoised, source, torch.tensor(1.0))
    assert missed[0] == 0 < missed[1]


@pytest.mark.parametrize("values", [{"strength": 0.6}, {"accelerators": ["faster"]}, {"steps": 1}], ids=str)
def test_where_nothing_is_to_choose_it_is_one_walk(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, values: dict[str, object]
) -> None:
    assert painted(memory, shelf, tries=4, **values) == painted(memory, shelf, tries=1, **values)
