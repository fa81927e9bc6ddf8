"""Samplers against Gaussian data, where the estimate and the end of every walk are known in closed form."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from pipelines.samplers import Path, Sampler, samplers
from pipelines.types import Denoise, exploding, straight

MEAN, DEVIATION = 0.7, 0.4
PATHS = {"exploding": (exploding, 20.0), "straight": (straight, 0.98)}


def posterior(alpha) -> Denoise:
    """E[x0 | x] of N(MEAN, DEVIATION^2) data."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        a = alpha(sigma)
        return MEAN + a * DEVIATION**2 / (a**2 * DEVIATION**2 + sigma**2) * (x - a * MEAN)

    return denoise


def carried(x: Tensor, sigma: Tensor, sigma_next: Tensor, alpha) -> Tensor:
    """Where the ODE takes x, exactly: the same number of deviations from the mean, at every noise level."""
    spread, spread_next = ((alpha(s) ** 2 * DEVIATION**2 + s**2).sqrt() for s in (sigma, sigma_next))
    return alpha(sigma_next) * MEAN + (x - alpha(sigma) * MEAN) * spread_next / spread


def end_of_ode(alpha) -> Denoise:
    return lambda x, sigma: carried(x, sigma, torch.zeros_like(sigma), alpha)


def even_in_log_snr(high: float, low: float, steps: int, alpha) -> Tensor:
    lam = torch.linspace(
        math.log(float(alpha(torch.tensor(high))) / high),
        math.log(float(alpha(torch.tensor(low))) / low),
        steps + 1,
        dtype=torch.float64,
    )
    return (-lam).exp() if alpha is exploding else (-lam).sigmoid()


def walked(sampler: Sampler, denoise: Denoise, x: Tensor, sigmas: Tensor, alpha=exploding, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    path = Path(alpha, lambda like: torch.randn(like.shape, generator=generator, dtype=like.dtype))
    walk = sampler(denoise, x, sigmas, path)
    while True:
        try:
            next(walk)
        except StopIteration as end:
            return end.value


def starts(count: int) -> Tensor:
    return torch.randn(count, 1, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def median_error(sampler: Sampler, steps: int, name: str) -> float:
    alpha, high = PATHS[name]
    sigmas = even_in_log_snr(high, 0.05, steps, alpha)
    x = alpha(sigmas[0]) * MEAN + starts(64) * (alpha(sigmas[0]) ** 2 * DEVIATION**2 + sigmas[0] ** 2).sqrt()
    return float(
        (walked(sampler, posterior(alpha), x, sigmas, alpha) - carried(x, sigmas[0], sigmas[-1], alpha)).abs().median()
    )


DETERMINISTIC = [name for name, sampler in samplers.items() if sampler.order > 0]
STOCHASTIC = [name for name, sampler in samplers.items() if sampler.order == 0]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_halving_the_step_cuts_the_error_as_the_order_says(name: str, path: str) -> None:
    sampler = samplers[name]()
    coarse, fine = median_error(sampler, 40, path), median_error(sampler, 80, path)
    assert coarse / fine >= 0.75 * 2**sampler.order
    assert fine < 0.02


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", list(samplers))
def test_the_walk_ends_where_the_data_lie(name: str, path: str) -> None:
    sampler, (alpha, high) = samplers[name](), PATHS[path]
    sigmas = torch.cat([even_in_log_snr(high, 0.02, 400, alpha), torch.zeros(1, dtype=torch.float64)])
    x = alpha(sigmas[0]) * MEAN + starts(40_000) * (alpha(sigmas[0]) ** 2 * DEVIATION**2 + sigmas[0] ** 2).sqrt()
    denoise = end_of_ode(alpha) if sampler.jumps else posterior(alpha)
    end = walked(sampler, denoise, x, sigmas, alpha)
    assert float(end.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(end.std()) == pytest.approx(DEVIATION, rel=0.03)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_samplers_forget_where_they_began(name: str) -> None:
    sigmas = torch.cat([even_in_log_snr(20, 0.02, 60, exploding), torch.zeros(1, dtype=torch.float64)])
    denoise = end_of_ode(exploding) if samplers[name].jumps else posterior(exploding)
    x = starts(4) * 20
    one, other = (walked(samplers[name](), denoise, x, sigmas, seed=seed) for seed in (0, 1))
    assert float((one - other).abs().max()) > 0.05


@pytest.mark.parametrize("name", STOCHASTIC)
def test_one_source_of_noise_gives_one_walk(name: str) -> None:
    sigmas = torch.cat([even_in_log_snr(20, 0.02, 8, exploding), torch.zeros(1, dtype=torch.float64)])
    x = starts(4) * 20
    assert torch.equal(*(walked(samplers[name](), posterior(exploding), x, sigmas, seed=5) for _ in range(2)))


def test_churn_keeps_the_distribution() -> None:
    sampler = samplers["heun"](churn=30, churn_noise=1)
    sigmas = torch.cat([even_in_log_snr(20, 0.02, 100, exploding), torch.zeros(1, dtype=torch.float64)])
    x = MEAN + starts(40_000) * (DEVIATION**2 + 20**2) ** 0.5
    end = walked(sampler, posterior(exploding), x, sigmas)
    assert float(end.std()) == pytest.approx(DEVIATION, rel=0.03)
    assert not torch.allclose(end, walked(samplers["heun"](), posterior(exploding), x, sigmas), atol=1e-3)


@pytest.mark.parametrize("name", list(samplers))
def test_every_step_is_told_and_calls_are_as_declared(name: str) -> None:
    asked = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        asked.append(float(sigma))
        return posterior(exploding)(x, sigma)

    sigmas = torch.cat([even_in_log_snr(20, 0.02, 6, exploding), torch.zeros(1, dtype=torch.float64)])
    steps = list(samplers[name]()(denoise, starts(1) * 20, sigmas, Path()))
    assert [step.index for step in steps] == list(range(7))
    assert len(asked) == 7 * samplers[name].calls - (samplers[name].calls - 1)  # the step to 0 needs one call


def test_dpmpp_sde_keeps_the_spread_of_the_data_in_fewer_steps_than_first_order() -> None:
    sigmas = torch.cat([even_in_log_snr(20, 0.02, 30, exploding), torch.zeros(1, dtype=torch.float64)])
    x = MEAN + starts(40_000) * (DEVIATION**2 + 20**2) ** 0.5
    spreads = {name: float(walked(samplers[name](), posterior(exploding), x, sigmas).std()) for name in STOCHASTIC}
    off = {name: abs(spread - DEVIATION) for name, spread in spreads.items()}
    assert off["dpmpp_sde"] < 0.3 * off["euler_ancestral"]


def test_dpmpp_2m_falls_back_to_first_order_where_it_has_no_memory() -> None:
    sigmas = even_in_log_snr(5, 1, 1, exploding)
    x = starts(3)
    first, euler = (walked(samplers[name](), posterior(exploding), x, sigmas) for name in ("dpmpp_2m", "ddim"))
    torch.testing.assert_close(first, euler)


def test_ddim_at_eta_one_and_ancestral_are_the_same_walk() -> None:
    sigmas = torch.cat([even_in_log_snr(20, 0.02, 9, exploding), torch.zeros(1, dtype=torch.float64)])
    x = starts(5) * 20
    one = walked(samplers["ddim"](eta=1), posterior(exploding), x, sigmas, seed=2)
    assert torch.equal(one, walked(samplers["euler_ancestral"](), posterior(exploding), x, sigmas, seed=2))


def test_sigma_grids_fall() -> None:
    assert all(a > b for a, b in pairwise(even_in_log_snr(20, 0.02, 9, exploding)))
