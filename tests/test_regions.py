"""Side by side: each part of a prompt leads its own stretch, and each row of a pass is changed by its own word alone."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipelines.guidance import guidances
from pipelines.guidance.regions import mirrored, stretches
from pipelines.localizing import Attention, Sought
from pipelines.types import Cond

X, SIGMA = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor(2.0)


def cond(*ids: int) -> Cond:
    return Cond(torch.zeros(1, 5, 3), torch.zeros(3), {"ids": torch.tensor([[*ids, *[0] * (5 - len(ids))]])})


def knowing(levels: dict[int, float]):  # type: ignore[no-untyped-def]
    """x0 of one level for each condition, by the first number of its words."""
    return lambda x, sigma, conds: [torch.full_like(x, levels[int(each.extras["ids"][0, 0])]) for each in conds]


@pytest.mark.parametrize("along", ["across", "down"])
def test_each_part_leads_its_own_stretch(along: str) -> None:
    whole = replace(cond(1), parts=((1.0, cond(1)), (1.0, cond(2)), (-1.0, cond(3))))
    method = guidances["regions"](scale=2.0, along=along)  # type: ignore[call-arg]
    found = method(knowing({1: 1.0, 2: 5.0, 9: 0.5}), X, SIGMA, whole, cond(9))  # what NOT joins is not asked for
    assert found.shape == X.shape and method.asked("a AND b NOT c") == 3 and method.asked("a NOT c") == 3
    ends = (found[..., 0], found[..., -1]) if along == "across" else (found[..., 0, :], found[..., -1, :])
    for end, level in zip(ends, (1.0, 5.0), strict=True):
        torch.testing.assert_close(end, torch.full_like(end, 0.5 + 2 * (level - 0.5)), rtol=1e-4, atol=1e-3)


def test_what_stands_in_the_middle_of_what_is_seen_comes_to_the_middle_of_its_stretch() -> None:
    middle = torch.zeros_like(X)
    middle[..., 4] = 1.0

    def predict(x: Tensor, sigma: Tensor, conds: list[Cond]) -> list[Tensor]:
        return [torch.zeros_like(x) if int(each.extras["ids"][0, 0]) == 9 else middle for each in conds]

    whole = replace(cond(1), parts=((1.0, cond(1)), (1.0, cond(2))))
    found = guidances["regions"](scale=1.0)(predict, X, SIGMA, whole, cond(9))  # type: ignore[call-arg]
    assert found[0, 0, 0].gt(0.9).nonzero().flatten().tolist() == [2, 6]
    same = guidances["regions"](scale=1.0)(lambda x, sigma, conds: [x], X, SIGMA, whole, cond(9))  # type: ignore[call-arg]
    torch.testing.assert_close(same, X)


@pytest.mark.parametrize("away", [-3, 0, 2])
def test_what_lies_beyond_the_edge_is_the_picture_mirrored(away: int) -> None:
    row = torch.arange(6)
    there = torch.cat([row.flip(0), row, row.flip(0)])[6 + away : 12 + away]
    assert row[mirrored(6, away)].tolist() == there.tolist()


def test_one_part_alone_is_guided_as_ever() -> None:
    predict = knowing({1: 1.0, 9: 0.5})
    assert torch.equal(
        guidances["regions"](scale=3.0)(predict, X, SIGMA, cond(1), cond(9)),  # type: ignore[call-arg]
        guidances["composable"](scale=3.0)(predict, X, SIGMA, cond(1), cond(9)),  # type: ignore[call-arg]
    )


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_stretches_cover_an_edge_evenly(count: int) -> None:
    shares = stretches(48, count)
    torch.testing.assert_close(shares.sum(0), torch.ones(48))
    torch.testing.assert_close(shares.sum(1), torch.full((count,), 48 / count), rtol=1e-3, atol=1e-3)


def changes(conds: list[Cond]) -> dict[str, Tensor]:
    """What multiplies the change of each of two words, by row of a pass over these conditions."""
    attention = Attention({"zorp": Sought((7,), 0.0), "quib": Sought((8,), 0.0)})
    attention.predicting(lambda x, sigma, conds: [x for _ in conds])(X.expand(2, -1, -1, -1), SIGMA, conds)
    answer = torch.ones(2 * len(conds), 3, 4)
    return {
        name: (attention.awake(name)(answer) * answer[:, 0, 0].view(-1, 1, 1)).expand(len(answer), 1, 1).flatten()
        for name in ("zorp", "quib")
    }


def test_each_row_is_changed_by_its_own_word_and_the_empty_prompt_as_its_pass() -> None:
    alone = changes([cond(9), cond(7)])
    assert alone["zorp"].tolist() == [1] * 4 and alone["quib"].tolist() == [0] * 4
    together = changes([cond(9), cond(7, 8)])  # both in one sentence: both act, on all of it
    assert together["zorp"].tolist() == together["quib"].tolist() == [1] * 4
    apart = changes([cond(9), cond(7), cond(8)])
    assert apart["zorp"].tolist() == [0, 0, 1, 1, 0, 0] and apart["quib"].tolist() == [0, 0, 0, 0, 1, 1]
