"""Guidance against the identities that hold for every method."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipelines.guidance import guidances
from pipelines.types import Cond

generator = torch.Generator().manual_seed(0)
X = torch.randn(2, 4, 8, 8, generator=generator)
SIGMA = torch.tensor(3.0)
COND, UNCOND = (Cond(torch.full((1, 3, 4), float(value)), torch.zeros(1, 1, 4)) for value in (1, 2))


def predict(x: Tensor, sigma: Tensor, conds: list[Cond]) -> list[Tensor]:
    return [x / sigma + each.tokens.mean() * torch.sin(x) for each in conds]


@pytest.mark.parametrize("name", list(guidances))
def test_off_is_the_conditional_estimate_at_one_evaluation(name: str) -> None:
    guidance = guidances[name](**guidances[name].off)
    asked = []

    def counted(x: Tensor, sigma: Tensor, conds: list[Cond]) -> list[Tensor]:
        asked.extend(conds)
        return predict(x, sigma, conds)

    assert torch.equal(guidance(counted, X, SIGMA, COND, UNCOND), predict(X, SIGMA, [COND])[0])
    assert len(asked) == guidance.evaluations == 1


@pytest.mark.parametrize("scale", [1.5, 5.0, 20.0])
@pytest.mark.parametrize("name", list(guidances))
def test_equal_conditions_give_that_estimate_at_any_scale(name: str, scale: float) -> None:
    guidance = guidances[name](scale=scale)
    torch.testing.assert_close(guidance(predict, X, SIGMA, COND, replace(COND)), predict(X, SIGMA, [COND])[0])


def test_cfg_goes_from_the_negative_through_the_positive_and_beyond() -> None:
    guided = guidances["cfg"](scale=3)(predict, X, SIGMA, COND, UNCOND)
    negative, positive = predict(X, SIGMA, [UNCOND, COND])
    torch.testing.assert_close(guided, negative + 3 * (positive - negative))


def test_full_rescale_has_the_deviation_of_the_conditional_estimate() -> None:
    guided = guidances["cfg"](scale=9, rescale=1)(predict, X, SIGMA, COND, UNCOND)
    wanted = predict(X, SIGMA, [COND])[0]
    torch.testing.assert_close(guided.std([1, 2, 3]), wanted.std([1, 2, 3]))
    plain = guidances["cfg"](scale=9)(predict, X, SIGMA, COND, UNCOND)
    assert not torch.allclose(plain.std([1, 2, 3]), wanted.std([1, 2, 3]), rtol=0.05)
