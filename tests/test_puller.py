"""What comes from a canvas on which things are pulled, as fields of a request, and what it shows of one."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import BadRequest
from pipelines.events import Progress
from pipelines.request import validated
from pipelines.shelf import FolderShelf
from pipelines.tasks.appearance import Appearance
from pipelines.tasks.drag import Drag
from pipelines.tasks.move import Move
from studio.presets import changed
from studio.puller import Puller, pastes
from studio.views import _pulled


@pytest.fixture
def board() -> Puller:
    return Puller("drag", SimpleNamespace())  # type: ignore[arg-type]  # nothing here asks the runner


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8))


def test_arrows_reach_the_request_and_forget_what_the_last_began_on(board: Puller, shelf: FolderShelf) -> None:
    request = Drag(source=shelf.put(picture()), things=shelf.put(picture()))
    changes, _ = board.arrowed({"arrows": "1,2 > 3,4"}, shelf, request)
    after = changed(request, changes)
    assert (after.arrows, after.things) == ("1,2 > 3,4", "")  # type: ignore[attr-defined]
    shown = board.seen(after, shelf, 1)
    assert (shown["pulls"], shown["arrows"], shown["masks"]) == ("arrows", "1,2 > 3,4", True)
    with pytest.raises(BadRequest, match="Arrows"):
        changed(request, board.arrowed({"arrows": "<script>"}, shelf, request)[0])


def test_a_thing_taken_along_stays_until_it_is_pasted(board: Puller, shelf: FolderShelf) -> None:
    home, below, mask = (shelf.put(each) for each in (picture(), picture(1), Image.new("L", (32, 32), 255)))
    request = Move(source=home, mask=mask, to="3,4")
    lifted = changed(request, board.lifted({"mask": mask}, shelf, request)[0])
    assert pastes(lifted) and not lifted.source and not lifted.to  # type: ignore[attr-defined]
    brought = changed(lifted, board.brought({"source": below}, shelf, lifted)[0])
    assert (brought.source, brought.other, brought.mask) == (below, home, mask)  # type: ignore[attr-defined]
    shown = board.seen(brought, shelf, 1)
    assert shown["other"]["name"] == home and shown["other"]["mask"] and not shown["masks"]
    after = changed(brought, board.taken(shelf.put(picture(2))))
    assert not pastes(after) and not after.mask and after.to == ""  # type: ignore[attr-defined]
    with pytest.raises(BadRequest, match="Thing"):
        board.lifted({"mask": ""}, shelf, request)


def test_a_reference_is_taken_from_one_picture_and_stays_for_the_next(board: Puller, shelf: FolderShelf) -> None:
    home, mask = shelf.put(picture()), shelf.put(Image.new("L", (32, 32), 255))
    request = Appearance(source=home, mask=mask)
    taken = changed(request, board.lifted({"mask": mask}, shelf, request)[0])
    assert (taken.other, taken.look, taken.mask, taken.source) == (home, mask, "", home)  # type: ignore[attr-defined]
    after = changed(taken, board.brought({"source": shelf.put(picture(1))}, shelf, taken)[0])
    assert (after.other, after.look, after.mask) == (home, mask, "")  # type: ignore[attr-defined]
    shown = board.seen(after, shelf, 1)
    assert shown["pulls"] == "look" and shown["other"]["name"] == home and shown["other"]["mask"] and shown["masks"]
    with pytest.raises(BadRequest, match="Thing"):
        board.lifted({"mask": ""}, shelf, request)


def test_a_new_picture_takes_the_place_of_all_that_was_drawn(board: Puller, shelf: FolderShelf) -> None:
    request = Drag(source=shelf.put(picture()), arrows="1,2>3,4", mask=shelf.put(Image.new("L", (32, 32))))
    after = changed(request, board.brought({"source": shelf.put(picture(1))}, shelf, request)[0])
    assert (after.arrows, after.mask) == ("", "")  # type: ignore[attr-defined]
    earlier = {"source": request.source, "mask": request.mask, "arrows": request.arrows}
    back = changed(after, board.brought(earlier, shelf, after)[0])  # type: ignore[arg-type]
    assert (back.arrows, back.mask) == (request.arrows, request.mask)  # type: ignore[attr-defined]


def test_what_the_canvas_names_is_what_is_painted(board: Puller) -> None:
    words = {"source": "a" * 32, "mask": "", "arrows": "1,1>2,2", "stamp": 3, "size": 2, "to": "4,5"}
    assert validated(Drag, {name: value for name, value in board.named(words).items() if name in Drag.model_fields})
    assert board.named(words)["size"] == 2 and "stamp" not in board.named(words)


def test_the_page_is_told_where_the_points_are_and_how_far_they_have_to_go() -> None:
    view = _pulled(Progress(3, 9, points=((4.0, 5.0), (9.0, 9.0))), "1,1>4,9;9,9>9,9")
    assert view["targets"] == [(4, 9), (9, 9)] and view["text"] == "Step 3 of 9, 2 px to go"
    assert _pulled(Progress(3, 9), "1,1>4,9") == {}
