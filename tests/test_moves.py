"""Things put elsewhere through the task, on a toy of the real class: pixels go as they are, and nothing else changes."""

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.errors import BadRequest
from pipelines.events import Finished, Progress
from pipelines.memory import Memory
from pipelines.models import ModelSpec
from pipelines.shelf import FolderShelf
from pipelines.tasks import parse, run
from pipelines.tasks.move import to_paint
from tests.accounting import host, result_of

QUICK = {"task": "move", "model": "toy", "steps": 2, "seed": 3}


def picture(seed: int = 0, side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8))


def box(left: int, top: int, width: int, height: int, side: int = 64) -> Image.Image:
    mask = Image.new("L", (side, side))
    mask.paste(255, (left, top, left + width, top + height))
    return mask


def moved(memory: Memory, shelf: FolderShelf, **values: object) -> Image.Image:
    given = {key: shelf.put(value) if isinstance(value, Image.Image) else value for key, value in values.items()}
    (one,) = result_of(run(parse({**QUICK, **given}), memory, shelf)).pictures
    assert one.picture is not None
    return one.picture


def test_a_moved_thing_is_where_it_belongs_and_only_its_old_place_is_painted(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    source = picture()
    result = np.asarray(moved(memory, shelf, source=source, mask=box(8, 8, 16, 16), to="48,40", blend=0, grow=2))
    before = np.asarray(source)
    assert (result[32:48, 40:56] == before[8:24, 8:24]).all()
    painted = np.asarray(box(6, 6, 20, 20)) > 0
    kept = ~painted & ~(np.asarray(box(40, 32, 16, 16)) > 0)
    assert (result == before)[kept].all() and (result != before)[9:23, 9:23].mean() > 0.8


def test_a_copy_leaves_the_thing_and_without_blending_needs_no_model(shelf: FolderShelf) -> None:
    source, unused = picture(), host()
    values = {"source": source, "mask": box(8, 8, 16, 16), "gesture": "copy", "to": "48,40"}
    result, before = np.asarray(moved(unused, shelf, **values, blend=0, model="pocket")), np.asarray(source)
    assert (result[32:48, 40:56] == before[8:24, 8:24]).all() and (result[:30] == before[:30]).all()
    assert not unused.residents()


def test_a_copy_that_is_blended_is_painted_at_its_edge_alone(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    source = picture()
    values = {"source": source, "mask": box(8, 8, 16, 16), "gesture": "copy", "to": "48,40"}
    result, before = np.asarray(moved(memory, shelf, **values, blend=0.5)), np.asarray(source)
    assert (result[35:45, 43:53] == before[11:21, 11:21]).all() and (result[:29] == before[:29]).all()
    assert (result[32:48, 40:56] != before[8:24, 8:24]).any()


def test_a_thing_is_pasted_from_another_picture_at_its_size(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    values = {"source": picture(), "other": picture(1, 96), "mask": box(10, 20, 30, 10, 96), "gesture": "paste"}
    result = np.asarray(moved(memory, shelf, **values, blend=0))
    assert (result[27:37, 17:47] == np.asarray(picture(1, 96))[20:30, 10:40]).all()
    smaller = np.asarray(moved(memory, shelf, **values, blend=0, size=0.5, to="20,20"))
    assert (smaller != np.asarray(picture())).any(-1).sum() <= 15 * 5


def test_a_thing_that_shrinks_uncovers_what_is_around_it_and_one_that_grows_covers(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    values = {"source": shelf.put(picture()), "mask": shelf.put(box(16, 16, 32, 32)), "gesture": "resize", "grow": 0}
    sheets = [parse({**QUICK, **values, "size": size, "blend": 0}).sheet(shelf) for size in (0.5, 1.5)]  # type: ignore[attr-defined]
    assert (sheets[0].mask > 0).sum() == 32**2 - 16**2 and not sheets[1].mask.any()
    assert moved(memory, shelf, **values, size=0.5).size == (64, 64)


def test_what_may_be_painted_is_the_hole_and_in_part_the_rim() -> None:
    hole, shown = np.asarray(box(0, 0, 32, 64)), np.asarray(box(24, 24, 16, 16))
    mask = to_paint(hole, shown, 0.4)
    assert mask[4, 4] == 255 and mask[32, 32] == 0 and mask[32, 39] == mask[32, 41] == 102 and mask[4, 50] == 0
    assert not to_paint(hole * 0, shown, 0).any()


def test_a_click_selects_what_moves_and_the_result_names_its_mask(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    values = {**QUICK, "source": shelf.put(picture()), "clicks": "20,20 -40,40", "to": "40,20"}
    (one,) = result_of(run(parse(values), memory, shelf)).pictures
    assert one.request.mask and not one.request.clicks  # type: ignore[attr-defined]
    again = result_of(run(one.request, memory, shelf)).pictures[0]
    assert again.picture.tobytes() == one.picture.tobytes()  # type: ignore[union-attr]


def test_what_cannot_be_moved_is_said(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    source, mask = picture(), box(8, 8, 16, 16)
    wrong = {
        "Thing: click": {"source": source},
        "Picture: choose": {"mask": mask},
        "mask is empty": {"source": source, "mask": Image.new("L", (64, 64))},
        "nothing of the thing": {"source": source, "mask": mask, "to": "900,20"},
        "Other picture: choose": {"source": source, "mask": mask, "gesture": "paste"},
        "outside of the picture": {"source": source, "clicks": "64,2"},
        "same shape": {"source": source, "mask": box(8, 8, 16, 16).resize((64, 32))},
        "^To: ": {"source": source, "to": "far away"},
    }
    for words, values in wrong.items():
        with pytest.raises(BadRequest, match=words) as refusal:
            moved(memory, shelf, **values)
        assert "\n" not in str(refusal.value)


def test_a_move_over_the_edge_leaves_the_rest_of_the_thing(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    source = picture()
    result = np.asarray(moved(memory, shelf, source=source, mask=box(8, 8, 16, 16), to="64,16", blend=0))
    assert (result[8:24, 56:] == np.asarray(source)[8:24, 8:16]).all()


def test_several_pictures_and_a_stop_return_the_network_as_it_was(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    with memory.use(toy.net) as net:
        before = {name: value.clone() for name, value in net.state_dict().items()}
    names = {"source": shelf.put(picture()), "mask": shelf.put(box(8, 8, 16, 16))}
    request = parse({**QUICK, **names, "to": "40,40", "count": 2})
    assert sum(isinstance(event, Finished) for event in run(request, memory, shelf)) == 2
    running = run(request, memory, shelf)
    while not isinstance(next(running), Progress):
        pass
    running.close()
    assert all(each.lent == 0 for each in memory.residents())
    with memory.use(toy.net) as net:
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
