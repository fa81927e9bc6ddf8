"""A masked part seen in the middle: the view moves and comes back, knows what is in sight, and half of all beginnings
have it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines import beginnings
from pipelines.centring import away_of, centred, in_sight, seen_from, shown
from pipelines.memory import Memory
from pipelines.models import ModelSpec
from pipelines.shelf import FolderShelf
from pipelines.tasks import edit, parse, run
from tests.accounting import result_of


def hole(top: int, left: int, bottom: int, right: int, size: tuple[int, int] = (8, 10)) -> torch.Tensor:
    mask = torch.zeros(1, 1, *size, dtype=torch.bool)
    mask[..., top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize(
    ("box", "away"),
    [
        ((2, 3, 6, 7), (0, 0)),
        ((0, 0, 4, 4), (-2, -3)),
        ((4, 8, 8, 10), (2, 4)),
        ((0, 0, 8, 10), (0, 0)),
        ((7, 0, 8, 1), (4, -4)),
    ],
)
def test_the_middle_of_a_mask_comes_to_the_middle_of_the_view(box, away):
    mask = hole(*box)
    assert away_of(mask) == away
    assert away_of(hole(0, 0, 0, 0)) == (0, 0)
    seen, (rows, columns) = (
        shown(mask.float(), away),
        (slice(box[0] - away[0], box[2] - away[0]), slice(box[1] - away[1], box[3] - away[1])),
    )
    assert bool(seen[..., max(rows.start, 0) : rows.stop, max(columns.start, 0) : columns.stop].all())
    assert bool((in_sight(mask, away) | ~mask).all())  # all of the mask is seen


@pytest.mark.parametrize("away", [(0, 0), (-2, 3), (3, -4), (4, 5)])
def test_what_is_estimated_from_another_view_is_put_back(toy: ModelSpec, away: tuple[int, int]):
    asked: list[torch.Tensor] = []

    def predictor(net, beside=None):
        assert beside is None or torch.equal(beside, shown(other, away))

        def predict(x, sigma, conds):
            asked.append(x)
            return [x * 2 for _ in conds]

        return predict

    x, other = torch.randn(2, 4, 8, 10), torch.randn(1, 5, 8, 10)
    spec = centred(replace(toy, predictor=predictor), away)
    for beside in (None, other):
        (answer,) = spec.predictor(None, beside)(x, torch.tensor(1.0), [None])
        seen = in_sight(x[:1, :1], away)
        torch.testing.assert_close(answer * seen, x * 2 * seen)
        torch.testing.assert_close(asked[-1], shown(x, away))
    assert int(seen.sum()) == (8 - abs(away[0])) * (10 - abs(away[1]))


def test_every_second_beginning_sees_the_mask_in_the_middle_and_the_end_is_seen_as_it_is(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, monkeypatch: pytest.MonkeyPatch
):
    views: list[tuple[bool, int]] = []
    plain = beginnings.onward

    def onward(request, ground, x, sigmas, *rest):
        views.append((ground.spec is not toy, len(sigmas) - 1))
        return plain(request, ground, x, sigmas, *rest)

    monkeypatch.setattr(beginnings, "onward", onward)
    levels = np.random.default_rng(3).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    mask = Image.new("L", (64, 64))
    mask.paste(255, (32, 0, 64, 40))
    names = {"source": shelf.put(Image.fromarray(levels)), "mask": shelf.put(mask)}
    asked = {
        "task": "inpaint",
        "model": "toy",
        "steps": 10,
        "sampler": "ddim",
        "close": False,
        "tries": 4,
        "seed": 1,
        **names,
    }
    fits = iter([1.0, 3.0, 2.0, 3.0])

    def looking(pins, near, missed):
        missed.append(next(fits))
        return pins.held

    monkeypatch.setattr(beginnings, "looking", looking)
    result_of(run(parse(asked), memory, shelf))
    assert views == [(True, 3), (False, 3), (True, 3), (False, 3), (True, 3), (False, 4)]
    views.clear()
    fits = iter([1.0, 0.5, 2.0, 3.0])
    result_of(run(parse(asked), memory, shelf))
    assert views == [(True, 3), (False, 3), (True, 3), (False, 3), (False, 7)]


def test_two_steps_leave_no_walk_between_the_beginning_and_the_end(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, monkeypatch: pytest.MonkeyPatch
):
    fits = iter([1.0, 3.0])  # the centred one goes on

    def looking(pins, near, missed):
        missed.append(next(fits))
        return pins.held

    monkeypatch.setattr(beginnings, "looking", looking)
    mask = Image.new("L", (64, 64))
    mask.paste(255, (32, 0, 64, 40))
    names = {"source": shelf.put(Image.new("RGB", (64, 64), "navy")), "mask": shelf.put(mask)}
    asked = {"task": "inpaint", "model": "toy", "steps": 2, "sampler": "ddim", "close": False, "tries": 2, "seed": 1}
    assert len(result_of(run(parse(asked | names), memory, shelf)).pictures) == 1


def test_a_view_that_moves_is_as_it_was_below_its_last_level():
    def predict(x, sigma, conds):
        return [x * 2 for _ in conds]

    x = torch.randn(1, 4, 8, 10)
    moving = seen_from((-2, 3), predict, until=1.5)
    assert not torch.equal(moving(x, torch.tensor(1.5), [None])[0], x * 2)
    assert torch.equal(moving(x, torch.tensor(1.4), [None])[0], x * 2)


@pytest.mark.parametrize("accelerated", [False, True])
def test_an_edit_sees_what_may_change_in_the_middle_until_it_is_settled(
    accelerated: bool, toy: ModelSpec, memory: Memory, shelf: FolderShelf, monkeypatch: pytest.MonkeyPatch
):
    moved: list[tuple[tuple[int, int], float]] = []
    looks: list[float] = []

    def seen(away, predict, until=0.0):
        moved.append((away, until))

        def looking(*given):
            looks.append(float(given[1].max()))
            return seen_from(away, predict, until)(*given)

        return looking

    monkeypatch.setattr(edit, "seen_from", seen)
    source, mask = Image.new("RGB", (64, 64), "navy"), Image.new("L", (64, 64))
    mask.paste(255, (32, 0, 64, 32))
    asked = {"task": "edit", "model": "toy", "steps": 10, "shown": "a dog", "prompt": "a cat", "seed": 1}
    asked |= {"source": shelf.put(source), "mask": shelf.put(mask), "feather": 0}
    asked |= {"accelerators": ["sada"]} if accelerated else {}
    result_of(run(parse(asked), memory, shelf))
    if accelerated:
        assert not moved  # what they keep from step to step is of one view
    else:
        (((down, right), until),) = moved
        assert down == -right < 0 and min(looks) < until < max(looks)
