"""Inversion on Gaussian data, where the estimate is known in closed form."""

import pytest
import torch
from torch import Tensor

from pipelines.inversion import cycled, descended, disagreeing, inverted, numbered
from pipelines.samplers import Path
from pipelines.types import Denoise
from tests.test_samplers import MEAN, PATHS, even_in_log_snr, posterior

ENDS = {"exploding": 20.0, "straight": 0.98}


def levels(name: str, steps: int = 20) -> tuple[Tensor, Path]:
    alpha, high = PATHS[name][0], ENDS[name]
    generator = torch.Generator().manual_seed(4)
    path = Path(alpha, lambda like: torch.randn(like.shape, generator=generator, dtype=like.dtype))
    return torch.cat([even_in_log_snr(high, 0.03, steps, alpha), torch.zeros(1, dtype=torch.float64)]), path


def data() -> Tensor:
    return MEAN + 0.4 * torch.randn(8, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def ended(walk) -> tuple[Tensor, int]:
    count = 0
    while True:
        try:
            step = next(walk)
            assert step.index == count
            count += 1
        except StopIteration as end:
            return end.value, count


def twice(denoise: Denoise):
    return lambda x, sigma: (denoise(x, sigma),) * 2


def shifted(denoise: Denoise, by: float) -> Denoise:
    return lambda x, sigma: denoise(x, sigma) + by


@pytest.mark.parametrize("name", PATHS)
def test_what_is_inverted_walks_back_to_itself(name: str) -> None:
    sigmas, path = levels(name)
    both, latents = twice(posterior(path.alpha)), data()
    x, steps = ended(inverted(both, latents, sigmas, path))
    back, _ = ended(descended(both, x, sigmas, path))
    assert steps == 20 + 1 and float((back - latents).abs().max()) < 0.02
    spread = (path.alpha(sigmas[0]) ** 2 * 0.16 + sigmas[0] ** 2).sqrt()
    assert float((x - path.alpha(sigmas[0]) * MEAN).std() / spread) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("pull", [0.0, 0.6, 1.0])
def test_cfgpp_walks_back_to_where_it_began_under_guidance(name: str, pull: float) -> None:
    sigmas, path = levels(name)
    latents, negative = data(), posterior(path.alpha)
    positive = shifted(negative, 0.2)

    def both(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        return negative(x, sigma).lerp(positive(x, sigma), pull), negative(x, sigma)

    x, _ = ended(inverted(both, latents, sigmas, path))
    back, _ = ended(descended(both, x, sigmas, path))
    assert float((back - latents).abs().max()) < 0.02


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_cycle_under_one_prompt_returns_the_latents(name: str, eta: float) -> None:
    sigmas, path = levels(name)
    denoise, latents = posterior(path.alpha), data()
    back, steps = ended(
        cycled(denoise, denoise, latents, sigmas, path, eta, torch.ones(1, 1, 6, 6, dtype=torch.float64))
    )
    assert steps == 21 and float((back - latents).abs().max()) < 1e-10


@pytest.mark.parametrize("name", PATHS)
def test_a_cycle_moves_as_far_as_the_target_differs_and_only_where_the_mask_lets_it(name: str) -> None:
    sigmas, path = levels(name)
    source, latents = posterior(path.alpha), data()
    mask = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    mask[..., 3:] = 1
    moved, _ = ended(cycled(source, shifted(source, 0.3), latents, sigmas, path, 1.0, mask))
    assert float((moved - latents)[..., :3].abs().max()) < 1e-10
    assert float((moved - latents)[..., 3:].min()) > 0.2


def test_walks_up_and_down_count_their_steps_on() -> None:
    sigmas, path = levels("exploding", 5)
    both = twice(posterior(path.alpha))
    back, steps = ended(
        numbered(lambda: inverted(both, data(), sigmas, path), lambda x: descended(both, x, sigmas, path))
    )
    assert steps == 12 and back.shape == data().shape


def test_two_prompts_disagree_where_their_estimates_differ_and_the_same_prompt_nowhere() -> None:
    one = torch.randn(1, 4, 12, 12, generator=torch.Generator().manual_seed(2))
    other = one.clone()
    other[..., 3:5, 6:9] += 2
    found = disagreeing([(one, other + 0.05 * torch.randn(one.shape)) for _ in range(3)])
    wanted = torch.zeros(1, 1, 12, 12)
    wanted[..., 2:6, 5:10] = 1  # and what lies beside
    assert torch.equal(found, wanted)
    assert not disagreeing([(one, one), (other, other + 1e-4)]).any()
