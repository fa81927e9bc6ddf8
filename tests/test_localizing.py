"""Where a word is looked at: what all transformers see added up, at one size, and beside it for the empty prompt."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from pipelines.localizing import Attention, Sought
from pipelines.prompts import ROOM, coined_id
from pipelines.types import Cond


def cond(*ids: int) -> Cond:
    return Cond(torch.zeros(1, 5, 3), torch.zeros(3), {"ids": torch.tensor([[*ids, *[0] * (5 - len(ids))]])})


def looking(conds: list[Cond], pictures: int = 1, height: int = 4, width: int = 4) -> Attention:
    """Attention that has begun a pass over these conditions."""
    attention = Attention({"zorp": Sought((7, 3), 0.5), "quib": Sought((8,), 0.5)})
    x = torch.zeros(pictures, 4, height, width)
    attention.predicting(lambda x, sigma, conds: [x for _ in conds])(x, torch.tensor(1.0), conds)
    return attention


def at(place: int, share: float) -> Tensor:
    """A map (1, 4, 4) with all its attention at one place."""
    return (torch.nn.functional.one_hot(torch.tensor(place), 16) * share).view(1, 4, 4)


def changed(attention: Attention, name: str, answer: Tensor) -> list[list[int]]:
    """The places of each row at which a word's change acts."""
    mask = attention.where(name)(answer)
    return [row.flatten().nonzero().flatten().tolist() for row in mask.expand(len(answer), 1, *answer.shape[2:])]


def test_who_sees_sharply_has_more_say_and_the_empty_prompt_is_changed_where_the_other_is() -> None:
    attention = looking([cond(9), cond(7, 3)])
    sharp, dull = torch.stack([at(0, 0), at(5, 0.9)]), torch.stack([at(0, 0), at(2, 0.1)])
    attention.maps["zorp"] = {"sharp": sharp, "dull": dull}
    answer = torch.ones(2, 8, 4, 4)
    assert changed(attention, "zorp", answer) == [[5], [5]]
    assert attention.where("zorp")(torch.ones(2, 16, 8)).shape == (2, 16, 1)  # tokens in place of planes


def test_each_picture_of_a_pass_has_places_of_its_own_and_another_word_is_left_alone() -> None:
    attention = looking([cond(9), cond(7, 3), cond(8)], pictures=2)
    attention.maps["zorp"] = {"a": torch.stack([at(0, 0), at(0, 0), at(1, 1), at(2, 1), at(3, 1), at(3, 1)])}
    assert changed(attention, "zorp", torch.ones(6, 8, 4, 4)) == [[1], [2], [1], [2], [], []]


def test_of_two_coined_words_each_wakes_what_it_was_taught_alone() -> None:
    zorp, quib = coined_id("zorp"), coined_id("Quib")
    assert abs(zorp - quib) >= ROOM and coined_id("quib") == quib < 0
    attention = Attention({"zorp": Sought((zorp,), 0.0), "quib": Sought((quib,), 0.0)})
    x, conds = torch.zeros(1, 4, 4, 4), [cond(4, zorp, zorp - 1), cond(quib, quib - 1, 9)]
    seen: list[list[float]] = []

    def predict(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
        rows = torch.ones(len(conds), 8, 4, 4)
        seen.append([(attention.awake(name)(rows) * rows)[:, 0, 0, 0].tolist() for name in ("zorp", "quib")])
        return [x for _ in conds]

    attention.predicting(predict)(x, torch.tensor(1.0), conds)
    attention.predicting(predict)(x, torch.tensor(1.0), conds[:1])
    assert seen == [[[1, 0], [0, 1]], [[1], [0]]]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 16), (12, 8), (65, 96)])
def test_maps_of_another_size_are_brought_to_that_of_the_layer(height: int, width: int) -> None:
    attention = looking([cond(7, 3)], height=height, width=width)
    half, quarter = ((-(-height // n), -(-width // n)) for n in (2, 4))
    coarse = torch.zeros(1, 1, *quarter)
    coarse[0, 0, 0, 0] = 1
    attention.maps["zorp"] = {"coarse": coarse}
    mask = attention.where("zorp")(torch.ones(1, 3, *half))[0, 0]
    assert mask[0, 0] == 1 and mask[-1, -1] == 0 and mask.shape == half
    assert attention.where("zorp")(torch.ones(1, half[0] * half[1], 3)).shape == (1, half[0] * half[1], 1)


def test_what_was_seen_a_step_before_stands_and_what_another_tile_saw_does_not() -> None:
    attention, conds = Attention({"zorp": Sought((7, 3), 0.5)}), [cond(7, 3)]
    ask = attention.predicting(lambda x, sigma, conds: [x for _ in conds])

    def seen_after(sigma: float, height: int = 4) -> bool:
        attention.maps["zorp"] = {"a": at(1, 1)[None]}
        ask(torch.zeros(1, 4, height, 4), torch.tensor(sigma), conds)
        return bool(attention.maps)

    assert not seen_after(5.0) and seen_after(4.0) and seen_after(3.0)
    assert not seen_after(3.0, height=8) and not seen_after(3.0, height=8) and not seen_after(2.0, height=8)


def test_parts_of_a_prompt_that_are_asked_one_by_one_remember_what_each_saw() -> None:
    attention = Attention({"zorp": Sought((7, 3), 0.5)})
    ask, x = attention.predicting(lambda x, sigma, conds: [x for _ in conds]), torch.zeros(1, 4, 4, 4)
    parts = [[cond(9)], [cond(7, 3)], [cond(7, 3, 9)]]
    for sigma in (5.0, 4.0):
        for k, conds in enumerate(parts):
            ask(x, torch.tensor(sigma), conds)
            if sigma == 5.0:
                assert not attention.maps
                attention.maps["zorp"] = {"a": at(k, 1)[None]}
            else:
                assert torch.equal(attention.maps["zorp"]["a"], at(k, 1)[None])
    ask(x, torch.tensor(3.0), [cond(7, 3)])
    ask(x, torch.tensor(2.0), parts[1])
    assert not attention.maps  # what was seen two steps before is forgotten


def test_before_anything_was_seen_all_of_a_picture_is_changed() -> None:
    assert float(looking([cond(7, 3)]).where("zorp")(torch.ones(1, 3, 4, 4))) == 1
