"""Samplers against Gaussian data, where the estimate and the end of every walk are known in closed form."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from pipelines.samplers import Path, Sampler, samplers
from pipelines.samplers.ghvb import momentum_weights
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


@pytest.mark.parametrize("name", list(samplers))
def test_a_straight_path_may_begin_at_pure_noise(name: str) -> None:
    """Flow models start at sigma 1, where alpha is 0 and lambda infinite."""
    sampler = samplers[name]()
    sigmas = torch.linspace(1, 0, 201, dtype=torch.float64)
    denoise = end_of_ode(straight) if sampler.jumps else posterior(straight)
    end = walked(sampler, denoise, starts(20_000), sigmas, straight)
    assert float(end.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(end.std()) == pytest.approx(DEVIATION, rel=0.04)


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
    assert len(asked) == samplers[name]().evaluations(7)
    if samplers[name].evaluations is Sampler.evaluations:
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


@pytest.mark.parametrize(
    ("sharpness", "weights"), [(1, [1]), (2, [1.5, -0.5]), (4, [55 / 24, -59 / 24, 37 / 24, -9 / 24])]
)
def test_momentum_without_memory_is_adams_bashforth(sharpness: int, weights: list[float]) -> None:
    assert momentum_weights(sharpness, 1.0) == pytest.approx(weights, abs=1e-9)


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.9])
def test_momentum_of_two_has_the_weights_of_the_paper(beta: float) -> None:
    assert momentum_weights(2, beta) == pytest.approx([(2 + beta) / (2 * beta), -(2 - beta) / (2 * beta)])


def test_momentum_of_sharpness_one_is_euler() -> None:
    sigmas = even_in_log_snr(20, 0.02, 9, exploding)
    one, euler = (
        walked(sampler, posterior(exploding), starts(5) * 20, sigmas)
        for sampler in (samplers["ghvb"](sharpness=1), samplers["euler"]())
    )
    torch.testing.assert_close(one, euler, atol=1e-9, rtol=1e-9)


def test_momentum_holds_where_strong_guidance_bursts_plms() -> None:
    """The slope of data that guidance has made 15 times as stiff, in 8 steps. SYSTEMS.md A8."""

    def stiff(x: Tensor, sigma: Tensor) -> Tensor:
        narrow, wide = 0.05, 1.0
        one, other = (s**2 / (s**2 + sigma**2) * x for s in (narrow, wide))
        return other + 15 * (one - other)

    sigmas = even_in_log_snr(14, 0.05, 8, exploding)
    x = starts(256) * 14
    true = walked(samplers["dpmpp_2s"](), stiff, x, even_in_log_snr(14, 0.05, 2000, exploding))
    errors = {
        name: float((walked(samplers[name](), stiff, x, sigmas) - true).abs().median()) for name in ("ghvb", "plms")
    }
    assert errors["ghvb"] < 0.2 * errors["plms"]


@pytest.mark.parametrize("name", ["plms", "pndm"])
def test_pseudo_multistep_is_far_nearer_than_ddim_at_as_many_steps(name: str) -> None:
    fine, ddim = (median_error(samplers[each](), 50, "exploding") for each in (name, "ddim"))
    assert fine < ddim / 4


def test_a_wider_mix_of_the_past_beats_the_first_order() -> None:
    """DEIS with 15 estimates against DDIM with 20. SYSTEMS.md A5."""
    assert median_error(samplers["deis"](), 15, "exploding") < median_error(samplers["ddim"](), 20, "exploding")


def test_corrections_bring_the_spread_back_that_few_steps_lose() -> None:
    """At as many calls, the predictor alone is further from the data. SYSTEMS.md A2."""
    x = MEAN + starts(20_000) * (DEVIATION**2 + 20**2) ** 0.5
    spread = {}
    for corrections, steps in ((0, 20), (1, 10)):
        sigmas = torch.cat([even_in_log_snr(20, 0.02, steps, exploding), torch.zeros(1, dtype=torch.float64)])
        sampler = samplers["score_sde"](corrections=corrections, ratio=0.3)
        spread[corrections] = abs(float(walked(sampler, posterior(exploding), x, sigmas).std()) - DEVIATION)
    assert spread[1] < spread[0] + 0.02


def test_every_picture_on_the_way_of_nested_walks_is_finished() -> None:
    """Each step's estimate has the spread of the data, where the plain estimate is their mean."""
    sigmas = torch.cat([even_in_log_snr(20, 0.02, 6, exploding), torch.zeros(1, dtype=torch.float64)])
    x = MEAN + starts(20_000) * (DEVIATION**2 + 20**2) ** 0.5
    steps = {
        name: [float(step.denoised.std()) for step in samplers[name](**knobs)(posterior(exploding), x, sigmas, Path())]
        for name, knobs in (("nested", {"inner": 10}), ("ddim", {}))
    }
    assert min(steps["nested"]) > 0.6 * DEVIATION > 5 * steps["ddim"][0]


def divergence_from_product(sampler: Sampler) -> float:
    """KL between a product of two mixtures and what a sampler makes of the sum of their scores."""
    one, other = (torch.tensor(each, dtype=torch.float64) for each in ([-2.0, 0.0, 2.0], [-1.7, 0.6, 2.4]))
    deviation, places = 0.35, torch.linspace(-3.95, 3.95, 80, dtype=torch.float64)

    def score(x: Tensor, sigma: Tensor, modes: Tensor) -> Tensor:
        spread = deviation**2 + sigma**2
        weights = (-((x[..., None] - modes) ** 2) / (2 * spread)).softmax(-1)
        return ((modes - x[..., None]) * weights).sum(-1) / spread

    def composed(x: Tensor, sigma: Tensor) -> Tensor:
        return x + sigma**2 * (score(x, sigma, one) + score(x, sigma, other))

    product = torch.stack(
        [(-((places[:, None] - each) ** 2) / (2 * deviation**2)).exp().sum(1) for each in (one, other)]
    )
    product = (product.prod(0) + 1e-12) / product.prod(0).sum()
    sigmas = torch.cat([even_in_log_snr(10, 0.02, 60, exploding), torch.zeros(1, dtype=torch.float64)])
    found = torch.histc(walked(sampler, composed, starts(8000) * 7, sigmas), 80, -4, 4) + 0.5
    return float((product * (product / (found / found.sum())).log()).sum())


@pytest.mark.parametrize(("moves", "most"), [("langevin", 0.05), ("hamiltonian", 0.09)])
def test_settling_draws_from_a_product_that_summed_scores_miss(moves: str, most: float) -> None:
    """Two mixtures composed: the sum of their scores is that of no noised product. SYSTEMS.md A28."""
    assert divergence_from_product(samplers["annealed_mcmc"](settling=10, stride=0.4, moves=moves)) < most
    assert divergence_from_product(samplers["euler_ancestral"]()) > 0.12


def test_ddim_at_eta_one_and_ancestral_are_the_same_walk() -> None:
    sigmas = torch.cat([even_in_log_snr(20, 0.02, 9, exploding), torch.zeros(1, dtype=torch.float64)])
    x = starts(5) * 20
    one = walked(samplers["ddim"](eta=1), posterior(exploding), x, sigmas, seed=2)
    assert torch.equal(one, walked(samplers["euler_ancestral"](), posterior(exploding), x, sigmas, seed=2))


@pytest.mark.parametrize("lowest", [0.0, 1.0, 6.0, 50.0])
def test_fresh_noise_ends_where_it_is_told_to(lowest: float) -> None:
    """Below the lowest level the walk is DDIM's own, eta 0, from where fresh noise has brought it."""
    sigmas = torch.cat([even_in_log_snr(20, 0.02, 9, exploding), torch.zeros(1, dtype=torch.float64)])
    x, noisy = starts(5) * 20, int((sigmas >= lowest).sum())
    if noisy:
        fresh = torch.cat([sigmas[:noisy], sigmas[noisy : noisy + 1]])
        part = walked(samplers["euler_ancestral"](), posterior(exploding), x, fresh, seed=2)
    else:
        part = x
    rest = (
        walked(samplers["ddim"](), posterior(exploding), part, sigmas[noisy:], seed=2) if noisy < len(sigmas) else part
    )
    whole = walked(samplers["euler_ancestral"](s_tmin=lowest), posterior(exploding), x, sigmas, seed=2)
    torch.testing.assert_close(whole, rest)


def test_sigma_grids_fall() -> None:
    assert all(a > b for a, b in pairwise(even_in_log_snr(20, 0.02, 9, exploding)))
