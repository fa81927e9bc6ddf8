"""The density along the flow: that of a known mixture, on any path, counted as it says, and told by a verifier."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from pipelines.likelihood import evaluations, log_likelihood, signs
from pipelines.painting import noise_of
from pipelines.samplers import Path
from pipelines.types import Cond, straight
from pipelines.verifiers import verifiers
from tests.densities import flowing, log_density, mixture, samples
from tests.test_verifiers import case  # noqa: F401

AXES = [4.0 * axis.view(1, 16, 1, 1) for axis in torch.eye(16, dtype=torch.float64)]


def test_the_likelihood_of_a_mixture_is_its_own() -> None:
    seen = samples(64)
    levels = list(torch.logspace(-2, 1.9, 320, dtype=torch.float64))
    found, true = log_likelihood(mixture(), seen, levels, Path(), AXES, nudge=1e-4), log_density(seen)
    assert abs(float(found.mean() / true.mean()) - 1) < 0.01
    assert float((found - true).abs().median()) < 0.2


def test_it_is_the_same_on_the_straight_path_of_flow_models() -> None:
    seen = samples(32)
    ratios = torch.logspace(-3, 1.9, 80, dtype=torch.float64)
    denoise = flowing(mixture()).denoise
    found = log_likelihood(denoise, seen, list(ratios / (1 + ratios)), Path(straight), AXES, nudge=1e-4)
    plain = log_likelihood(mixture(), seen, list(ratios), Path(), AXES, nudge=1e-4)
    torch.testing.assert_close(found, plain, rtol=1e-3, atol=1e-2)


def test_random_probes_find_the_trace_in_the_mean_and_every_estimate_is_counted() -> None:
    seen, asked = samples(64), []
    levels = list(torch.logspace(-2, 1.5, 20, dtype=torch.float64))

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        asked.append(1)
        return mixture()(x, sigma)

    probes = [each.double() for each in signs(seen, 16, noise_of(1))]
    rough = log_likelihood(denoise, seen, levels, Path(), probes, nudge=1e-4)
    assert len(asked) == evaluations(20, 16) == 2 * 19 * 17
    exact = log_likelihood(mixture(), seen, levels, Path(), AXES, nudge=1e-4)
    assert float((rough - exact).mean().abs()) < 0.5  # nats, of 16 numbers


@pytest.mark.usefixtures("toy")
def test_the_verifier_asks_as_often_as_it_says_and_prefers_what_the_prompt_explains(case) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    from contextlib import contextmanager
    from dataclasses import replace

    asked: list[int] = []
    shown = torch.randn(1, case.spec.channels, 8, 8, generator=torch.Generator().manual_seed(2))

    @contextmanager
    def lent():  # type: ignore[no-untyped-def]
        def predict(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
            asked.append(len(conds))
            alpha, known = case.spec.alpha(sigma), conds[0] is case.cond
            wide = 0.25 if known else 1.0  # the prompt's pictures lie near `shown`, others anywhere
            mean = shown if known else torch.zeros_like(shown)
            share = wide / (wide + (sigma / alpha) ** 2)
            return [mean + share * (x / alpha - mean)]

        yield predict

    judge = verifiers["likelihood"](levels=6)  # type: ignore[call-arg]
    found = judge(torch.cat([shown, -shown]), replace(case, lent=lent))
    assert sum(asked) == judge.evaluations
    assert float(found[0]) > 0 > float(found[1])
