"""Guidance against the identities that hold for every method."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance
from torch import Tensor

from pipelines.errors import StudioError
from pipelines.guidance import guidances
from pipelines.guidance.superdiff import Odds
from pipelines.models import ModelSpec
from pipelines.painting import composed, encoded
from pipelines.prompts import Span, clauses
from pipelines.samplers import Path, samplers
from pipelines.types import Cond, Predict, Run
from tests.accounting import host, result_of

generator = torch.Generator().manual_seed(0)
X = torch.randn(2, 4, 8, 8, generator=generator)
SIGMA = torch.tensor(3.0)
COND, UNCOND = (Cond(torch.full((1, 3, 4), float(value)), torch.zeros(1, 1, 4)) for value in (1, 2))


def predict(x: Tensor, sigma: Tensor, conds: list[Cond]) -> list[Tensor]:
    return [x / sigma + each.tokens.mean() * torch.sin(x) for each in conds]


SIGMAS = torch.tensor([14.0, 6.0, 3.0, 1.0, 0.3, 0.0])
WITH_OFF = [name for name, guidance in guidances.items() if guidance.off is not None]


@pytest.fixture
def run(toy: ModelSpec) -> Iterator[Run]:
    """A run of a toy network, which guidance may look at."""
    memory = host()
    with memory.use(toy.net) as net:
        yield Run(net, SIGMAS, memory, toy)


def read(run: Run, prompt: str) -> Cond:
    assert run.spec
    return encoded(run.spec, run.memory, prompt)


def of_network(run: Run) -> Predict:
    assert run.spec
    return run.spec.predictor(run.net)


@pytest.mark.parametrize("name", WITH_OFF)
def test_off_is_the_conditional_estimate_at_one_evaluation(name: str, run: Run) -> None:
    guidance = guidances[name](**guidances[name].off)
    asked = []

    def counted(x: Tensor, sigma: Tensor, conds: list[Cond]) -> list[Tensor]:
        asked.extend(conds)
        return predict(x, sigma, conds)

    assert torch.equal(guidance(counted, X, SIGMA, COND, UNCOND), predict(X, SIGMA, [COND])[0])
    assert len(asked) == guidance.evaluations == guidance.asked("a cat") == 1
    with guidance.apply(run) as guide:
        assert torch.equal(guide(counted, X, SIGMA, COND, UNCOND), predict(X, SIGMA, [COND])[0])
    assert len(asked) == 2


@pytest.mark.parametrize("strongest", [False, True])
@pytest.mark.parametrize("name", list(guidances))
def test_equal_conditions_give_that_estimate_at_any_scale(name: str, strongest: bool, run: Run) -> None:
    limits = {knob: max(mark.le for mark in field.metadata if hasattr(mark, "le"))
              for knob, field in guidances[name].model_fields.items() if knob in ("scale", "pull") and strongest}  # fmt: skip
    named = {"weaker": "toy"} if "weaker" in guidances[name].model_fields else {}
    if name == "tfg":  # a third thing to go to, whatever the conditions say
        limits["strength"] = 0
    with guidances[name](**limits, **named).apply(run) as guide:
        ours = of_network(run) if named else predict
        cond, uncond = (read(run, "a cat"), read(run, "a cat")) if named else (COND, replace(COND))
        x = X[:1] if named else X
        for sigma in SIGMAS[:-1]:
            torch.testing.assert_close(
                guide(ours, x, sigma, cond, uncond), ours(x, sigma, [cond])[0], atol=2e-4, rtol=1e-4
            )


@pytest.mark.parametrize("name", list(guidances))
def test_the_network_is_as_it_was_after_guidance_even_after_a_failure(name: str, run: Run) -> None:
    before = {key: module.forward for key, module in run.net.named_modules()}
    processors = dict(run.net.attn_processors)
    named = {"weaker": "toy"} if "weaker" in guidances[name].model_fields else {}

    def failing(x: Tensor, sigma: Tensor, conds: list[Cond]) -> list[Tensor]:
        failing.count += 1
        if failing.count > 1:
            raise RuntimeError("stopped here")
        return predict(x, sigma, conds)

    failing.count = 0
    with pytest.raises(RuntimeError), guidances[name](**named).apply(run) as guide:
        for _ in range(3):
            guide(failing, X, SIGMA, COND, UNCOND)
    assert before == {key: module.forward for key, module in run.net.named_modules()}
    assert processors == run.net.attn_processors


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


def test_cfgpp_is_the_step_that_keeps_the_negative_prompts_noise(run: Run) -> None:
    """x' = x0_pulled + s' eps_negative, the paper's Algorithm 2, by an ordinary DDIM step."""
    x = X.clone()
    with guidances["cfgpp"](pull=0.6).apply(run) as guide:
        ours = result_of(
            samplers["ddim"]()(lambda x, sigma: guide(predict, x, sigma, COND, UNCOND), X * SIGMAS[0], SIGMAS, Path())
        )
    x = X * SIGMAS[0]
    for sigma, sigma_next in pairwise(SIGMAS):
        negative, positive = predict(x, sigma, [UNCOND, COND])
        x = negative.lerp(positive, 0.6) + sigma_next * (x - negative) / sigma
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-4)


def test_cfgpp_without_pull_is_the_negative_prompt_to_the_bit(run: Run) -> None:
    with guidances["cfgpp"](pull=0).apply(run) as guide:
        assert torch.equal(guide(predict, X, SIGMA, COND, UNCOND), predict(X, SIGMA, [UNCOND])[0])


def test_projected_guidance_equals_that_of_diffusers(run: Run) -> None:
    buffer = MomentumBuffer(-0.5)
    with guidances["apg"](scale=6, saturation=0.2, limit=2.5).apply(run) as guide:
        for sigma in SIGMAS[:-1]:
            negative, positive = predict(X, sigma, [UNCOND, COND])
            theirs = normalized_guidance(positive, negative, 5.0, buffer, 0.2, 2.5, use_original_formulation=True)
            torch.testing.assert_close(guide(predict, X, sigma, COND, UNCOND), theirs, rtol=1e-4, atol=1e-4)


def test_projected_guidance_with_all_let_through_is_classifier_free(run: Run) -> None:
    with guidances["apg"](scale=6, saturation=1, momentum=0, limit=0).apply(run) as guide:
        plain = guidances["cfg"](scale=6)(predict, X, SIGMA, COND, UNCOND)
        torch.testing.assert_close(guide(predict, X, SIGMA, COND, UNCOND), plain)


def test_an_interval_guides_within_it_alone_and_asks_no_more(run: Run) -> None:
    asked: list[int] = []

    def counted(x: Tensor, sigma: Tensor, conds: list[Cond]) -> list[Tensor]:
        asked.append(len(conds))
        return predict(x, sigma, conds)

    method = guidances["interval"](scale=4, begin=0.2, end=0.8)
    with method.apply(run) as guide:
        estimates = [guide(counted, X, sigma, COND, UNCOND) for sigma in SIGMAS[:-1]]
    assert asked == [1, 2, 2, 2, 1] and method.asked("a cat") * 5 == pytest.approx(sum(asked))
    assert torch.equal(estimates[0], predict(X, SIGMAS[0], [COND])[0])
    assert torch.equal(estimates[2], guidances["cfg"](scale=4)(predict, X, SIGMAS[2], COND, UNCOND))


def test_a_push_may_serve_several_steps(run: Run) -> None:
    asked: list[int] = []

    def counted(x: Tensor, sigma: Tensor, conds: list[Cond]) -> list[Tensor]:
        asked.append(len(conds))
        return predict(x, sigma, conds)

    with guidances["interval"](scale=4, begin=0, end=1, every=3).apply(run) as guide:
        for sigma in SIGMAS[:-1]:
            guide(counted, X, sigma, COND, UNCOND)
    assert asked == [2, 1, 1, 2, 1]


def test_perturbed_attention_turns_away_from_values_alone(run: Run) -> None:
    ours, cond, uncond = of_network(run), read(run, "a cat"), read(run, "")
    plain = ours(X, SIGMA, [cond])[0]
    estimates = []
    for structure in (1.0, 3.0):
        with guidances["pag"](scale=1, structure=structure).apply(run) as guide:
            estimates.append(guide(ours, X, SIGMA, cond, uncond))
    torch.testing.assert_close(estimates[1] - plain, 3 * (estimates[0] - plain), rtol=1e-3, atol=1e-4)
    assert float((estimates[0] - plain).abs().max()) > 1e-5
    assert torch.equal(ours(X, SIGMA, [cond])[0], plain)


def test_clauses_are_cut_at_and_and_not() -> None:
    assert clauses("a cat AND a hat :0.8 NOT fog AND NOT rain:2") == [
        Span("a cat", 1.0), Span("a hat", 0.8), Span("fog", -1.0), Span("rain", -2.0),
    ]  # fmt: skip
    assert clauses("sand and NOTHING") == [Span("sand and NOTHING", 1.0)]
    assert clauses("") == [Span("")]


def test_composed_prompts_add_their_own_pushes_and_weight_nothing_is_not_asked(run: Run) -> None:
    assert run.spec
    asked: list[int] = []
    ours = of_network(run)

    def counted(x: Tensor, sigma: Tensor, conds: list[Cond]) -> list[Tensor]:
        asked.append(len(conds))
        return ours(x, sigma, conds)

    cond, uncond = composed(run.spec, run.memory, "a cat AND a dog :0.5 NOT the sea"), read(run, "")
    negative, *parts = ours(X, SIGMA, [uncond, *(read(run, each) for each in ("a cat", "a dog", "the sea"))])
    wanted = negative + 3 * sum(w * (part - negative) for w, part in zip((1, 0.5, -1), parts, strict=True))
    method = guidances["composable"](scale=3)
    torch.testing.assert_close(method(counted, X, SIGMA, cond, uncond), wanted, rtol=1e-4, atol=1e-4)
    less = composed(run.spec, run.memory, "a cat AND a dog :0 NOT the sea :0")
    both = [method(counted, X, SIGMA, each, uncond) for each in (less, read(run, "a cat"))]
    assert torch.equal(*both) and asked == [4, 2, 2]
    assert method.asked("a cat AND a dog :0 NOT the sea :0") == 2


def mixture(modes: list[float], deviation: float = 0.5):
    """x0 of a mixture of normal distributions in every number of x, and its exact log density at a noise level."""
    at = torch.tensor(modes, dtype=torch.float64)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        spread = deviation**2 + sigma**2
        weights = (-((x[..., None] - at) ** 2) / (2 * spread)).softmax(-1)
        return x + sigma**2 * ((at - x[..., None]) * weights).sum(-1) / spread

    def log_density(x: Tensor, sigma: Tensor) -> Tensor:
        spread = deviation**2 + sigma**2
        each = (-((x[..., None] - at) ** 2) / (2 * spread)).logsumexp(-1) - spread.log() / 2
        return each.sum([1, 2, 3])

    return denoise, log_density


def test_the_density_of_a_walk_is_known_from_its_steps() -> None:
    """The Ito estimator against the exact log density, in 1000 steps. SYSTEMS.md A29."""
    denoise, log_density = mixture([-1.0, 1.5])
    sigmas = (torch.linspace(10, 0.1, 1001, dtype=torch.float64).log()).exp()
    sigmas = torch.exp(torch.linspace(torch.tensor(10.0).log(), torch.tensor(0.1).log(), 1001, dtype=torch.float64))
    odds = Odds(Run(None, torch.cat([sigmas, sigmas[:1] * 0]), host()))
    source = torch.Generator().manual_seed(0)
    x = start = 10 * torch.randn(256, 1, 2, 2, dtype=torch.float64, generator=source)
    for sigma, sigma_next in pairwise(sigmas):
        denoised = denoise(x, sigma)
        odds.follow(x, sigma, denoised[None])
        fresh = torch.randn(x.shape, dtype=torch.float64, generator=source)
        x = x + 2 * (sigma_next - sigma) * (x - denoised) / sigma + (2 * sigma * (sigma - sigma_next)).sqrt() * fresh
    odds.follow(x, sigmas[-1], denoise(x, sigmas[-1])[None])
    error = odds.logs[0] - (log_density(x, sigmas[-1]) - log_density(start, sigmas[0]))
    assert abs(float(error.mean())) < 0.1 and float(error.std()) < 0.35


def test_superposed_prompts_stay_equally_likely_where_summed_ones_do_not(run: Run) -> None:
    one, other = mixture([-1.0, 0.9], 0.3), mixture([1.0, 2.6], 0.3)
    conds = [replace(COND), replace(COND)]

    def both(x: Tensor, sigma: Tensor, asked: list[Cond]) -> list[Tensor]:
        return [(other if each is conds[1] else one)[0](x, sigma) for each in asked]

    sigmas = torch.exp(torch.linspace(torch.tensor(10.0).log(), torch.tensor(0.2).log(), 301, dtype=torch.float64))
    sigmas = torch.cat([sigmas, sigmas[:1] * 0])
    cond = replace(COND, parts=((1.0, conds[0]), (1.0, conds[1])))
    apart = {}
    for name, knobs in (("superdiff", {"joins": "both"}), ("superdiff", {"joins": "either", "decision": 0.0})):
        source = torch.Generator().manual_seed(1)
        x = 10 * torch.randn(64, 1, 2, 2, dtype=torch.float64, generator=source)
        path = Path(noise=lambda like, source=source: torch.randn(like.shape, dtype=like.dtype, generator=source))
        with guidances[name](scale=1, **knobs).apply(Run(run.net, sigmas, run.memory)) as guide:
            walk = samplers["euler_ancestral"]()(
                lambda x, s, guide=guide: guide(both, x, s, cond, UNCOND), x, sigmas, path
            )
            end = result_of(walk)
        low = sigmas[-2]
        apart[knobs["joins"]] = float((one[1](end, low) - other[1](end, low)).abs().median())
    assert apart["both"] < 0.5 * apart["either"]


def test_autoguidance_needs_a_model_of_the_same_kind(run: Run) -> None:
    with pytest.raises(StudioError, match="second model"), guidances["auto"]().apply(run):
        pass
