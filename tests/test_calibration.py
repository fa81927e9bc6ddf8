"""What is searched or measured once: against brute force, against closed forms, and from the shell to a picture."""

from itertools import combinations, pairwise
from pathlib import Path as Folder

import pytest
import torch

from pipelines.calibration import boss
from pipelines.calibration.__main__ import main
from pipelines.calibration.evolution import cost_of, evolved, parents, resolved
from pipelines.calibration.statistics import measured
from pipelines.errors import StudioError
from pipelines.events import Finished
from pipelines.models import ModelSpec, models
from pipelines.models.noise import sigma_table
from pipelines.plans import Plan, keep, names, read
from pipelines.samplers import Path, samplers
from pipelines.schedules import schedules
from pipelines.schedules.few_steps import at
from pipelines.tasks import parse, run
from pipelines.types import straight
from tests.accounting import host
from tests.densities import STABLE, converged, exact, mixture


class StableLevels:
    """The noise levels of Stable Diffusion 1.5."""

    table = sigma_table(STABLE)

    def ends(self) -> tuple[float, float]:
        return float(self.table[0]), float(self.table[-1])

    def own(self, steps: int) -> torch.Tensor:
        return torch.cat([self.table.flip(0)[:: 1000 // steps][:steps], torch.zeros(1)])


@pytest.mark.parametrize(("alpha", "beta"), [(0.6, 0.6), (1.0, 1.0), (0.9, 2.0)])
def test_levels_lie_at_even_probabilities_of_the_beta_distribution(alpha: float, beta: float) -> None:
    """The share of training time of each level, found in the full grid, by the density's own
    integral over a fine grid."""
    sigmas = schedules["beta"](alpha=alpha, beta=beta)(StableLevels(), 10)
    every = StableLevels().own(1000)[:1000].flip(0)
    shares = torch.searchsorted(every, sigmas[:-1].contiguous()).double() / 999
    fine = (torch.arange(10**6, dtype=torch.float64) + 0.5) / 10**6
    density = fine ** (alpha - 1) * (1 - fine) ** (beta - 1)
    below = torch.stack([density[fine <= share].sum() for share in shares]) / density.sum()
    torch.testing.assert_close(below, 1 - torch.arange(10, dtype=torch.float64) / 10, atol=0.02, rtol=0)
    assert sigmas[-1] == 0 and (sigmas.diff() < 0).all() and sigmas[0] == every[-1]


def test_few_steps_visit_the_training_steps_of_the_paper() -> None:
    sigmas = schedules["few_steps"]()(StableLevels(), 8)
    visited = [round(at(StableLevels.table, float(sigma))) for sigma in sigmas[:-1]]
    assert visited == [999, 868, 741, 617, 498, 382, 273, 170]


def test_a_shift_is_that_of_flow_models_and_keeps_the_ends_of_others() -> None:
    class Flow:
        def ends(self) -> tuple[float, float]:
            return 0.001, 1.0

        def own(self, steps: int) -> torch.Tensor:
            return torch.linspace(1, 0, steps + 1)

    torch.testing.assert_close(schedules["shifted"](shift=3)(Flow(), 2), torch.tensor([1.0, 0.75, 0.0]))
    own, moved = (schedules["shifted"](shift=shift)(StableLevels(), 10) for shift in (1.0, 3.0))
    torch.testing.assert_close(own, StableLevels().own(10), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(moved[0], own[0], rtol=1e-3, atol=1e-3)
    assert bool((moved[1:-1] > own[1:-1]).all())


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_bellmans_path_is_the_cheapest_of_all(steps: int) -> None:
    count = 9
    cost = torch.rand(count, count, dtype=torch.float64, generator=torch.Generator().manual_seed(steps)) ** 2
    cost = cost.masked_fill(torch.ones(count, count).tril().bool(), float("inf"))

    def price(path: tuple[int, ...]) -> float:
        return float(sum(cost[i, j] for i, j in pairwise(path)))

    paths = [(0, *inner, count - 1) for inner in combinations(range(1, count - 1), steps - 1)]
    assert price(tuple(boss.best_path(cost, steps))) == pytest.approx(min(price(path) for path in paths))


def test_searched_steps_of_euler_end_nearer_than_even_ones() -> None:
    subject = exact(mixture(), 64)
    reference = subject.walked(samplers["euler"](), subject.fine(60))
    errors = []
    for sigmas in (boss.searched(subject, 6, fine=60), subject.fine(6)):
        assert len(sigmas) == 7 and float(sigmas[-1]) == 0
        errors.append(float((subject.walked(samplers["euler"](), sigmas) - reference).square().mean()))
    assert errors[0] < 0.6 * errors[1]


def test_evolution_finds_a_better_solver_than_every_fixed_one_also_for_other_starts() -> None:
    subject, other = exact(mixture(), 64), exact(mixture(), 64, seed=9)
    fine = subject.fine(64)
    first = parents(6, 64)
    cost, held = (cost_of(each, fine, converged(each)) for each in (subject, other))
    best, found = evolved(first, lambda *pair: resolved(*pair, fine=64), cost, 120)
    fixed = min(first, key=cost)
    assert found < 0.8 * cost(fixed) and held(best) < 0.9 * held(fixed)
    assert best.levels[0] == 0 and all(a < b for a, b in pairwise(best.levels)) and best.levels[-1] < 64


@pytest.mark.parametrize("path", ["exploding", "straight"])
def test_statistics_of_gaussian_data_make_the_solver_all_but_exact(path: str, toy: ModelSpec, tmp_path: Folder) -> None:
    """sigma eps is linear in x there, which l and b hold whole: Zheng et al. 2023, Proposition 3.1."""
    from dataclasses import replace as changed

    mean, deviation = 0.7, 0.4
    alpha = straight if path == "straight" else Path().alpha

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        a = alpha(sigma)
        return mean + a * deviation**2 / (a**2 * deviation**2 + sigma**2) * (x - a * mean)

    ends = (0.02, 0.98) if path == "straight" else (0.03, 14.0)
    subject = changed(exact(denoise, 32, channels=2), path=Path(alpha), ends=ends, denoise=denoise)
    spec = changed(toy, plans=tmp_path)
    models.remove("toy")
    models.add("toy", spec)
    keep(spec, "v3", measured(subject, 120))
    sigmas = subject.fine(6)[:-1]
    high, low = sigmas[0], sigmas[-1]
    spread, spread_next = ((alpha(s) ** 2 * deviation**2 + s**2).sqrt() for s in (high, low))
    x = subject.starts
    end = alpha(low) * mean + (x - alpha(high) * mean) * spread_next / spread
    errors = {
        name: float((subject.walked(sampler, sigmas) - end).abs().median())
        for name, sampler in (
            ("fitted", samplers["dpm_v3"](plan="toy/v3")),
            ("unipc", samplers["unipc"]()),
        )
    }
    assert errors["fitted"] < 0.2 * errors["unipc"]


def test_a_plan_is_kept_beside_its_model_and_found_by_name(toy: ModelSpec) -> None:
    plan = Plan(kind="levels", method="boss", sigmas=[14.0, 2.0, 0.5, 0.0])
    assert toy.plans and keep(toy, "boss-3", plan) == toy.plans / "boss-3.json"
    assert "toy/boss-3" in names("levels") and "toy/boss-3" not in names("statistics")
    assert read("toy/boss-3", "levels") == plan
    assert schedules["planned"](plan="toy/boss-3")(toy, 3).tolist() == [14.0, 2.0, 0.5, 0.0]
    assert len(schedules["planned"](plan="toy/boss-3")(toy, 7)) == 8
    for wrong, sentence in (
        ("toy/nothing", "no plan called"),
        ("toy/boss-3", "statistics were asked"),
        ("toy/..", "no"),
    ):
        with pytest.raises(StudioError, match=sentence):
            read(wrong, "statistics")
    (toy.plans / "boss-3.json").write_text("{")
    with pytest.raises(StudioError, match="damaged"):
        read("toy/boss-3", "levels")
    (toy.plans / "boss-3.json").unlink()


@pytest.mark.parametrize("what", ["boss", "autodiffusion", "solver", "statistics", "gaussian", "noise_shift"])
def test_one_command_makes_a_plan_that_paints(
    what: str, toy: ModelSpec, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.calibration import __main__ as command

    monkeypatch.setattr(command, "PROMPTS", ("a cat", "a dog"))
    options = [
        "--model",
        "toy",
        "--steps",
        "3",
        "--count",
        "1",
        "--side",
        "32",
        "--budget",
        "13",
        "--fine",
        "10",
        "--device",
        "cpu",
    ]
    assert main([what, *options]) == 0
    name = capsys.readouterr().out.strip()
    methods: dict[str, object] = {"schedule": {"name": "planned", "knobs": {"plan": name}}}
    if what == "solver":
        methods["sampler"] = {"name": "usf", "knobs": {"plan": name}}
    if what in ("gaussian", "noise_shift"):
        method = {"gaussian": "teleport", "noise_shift": what}[what]
        methods = {"accelerators": [{"name": method, "knobs": {"plan": name}}]}
    if what == "statistics":
        methods = {"sampler": {"name": "dpm_v3", "knobs": {"plan": name}}}
    request = {
        "task": "text_to_image",
        "model": "toy",
        "steps": 3,
        "width": 64,
        "height": 64,
        "prompt": "a cat",
        **methods,
    }
    assert any(isinstance(event, Finished) for event in run(parse(request), host()))
    assert toy.plans
    (toy.plans / f"{name.partition('/')[2]}.json").unlink()


def test_a_gaussian_answers_for_the_network_while_there_is_much_noise(toy: ModelSpec) -> None:
    """Latents that are Gaussian with a spectrum: the estimate at every level is the exact one, after it was fitted."""
    from pipelines.accelerators import accelerators
    from pipelines.accelerators.teleport import gaussian, rings
    from pipelines.calibration.spectrum import RINGS, measured
    from pipelines.types import Run

    source = torch.Generator().manual_seed(0)
    spectrum = torch.exp(-0.3 * torch.arange(RINGS, dtype=torch.float64))[:, None] * torch.tensor([1.0, 2, 3, 4])
    mean = torch.tensor([0.5, -0.5, 0.0, 1.0], dtype=torch.float64)
    white = torch.randn(600, 4, 16, 16, dtype=torch.float64, generator=source)
    shape = spectrum[rings(16, 16, RINGS)].permute(2, 0, 1).sqrt()
    latents = mean[:, None, None] + torch.fft.ifft2(torch.fft.fft2(white) * shape).real
    plan = measured(latents)
    assert toy.plans
    keep(toy, "cloud", plan)
    found = torch.tensor(plan.tables["spectrum"], dtype=torch.float64)
    present = rings(16, 16, RINGS).unique()
    torch.testing.assert_close(found[present], spectrum[present], rtol=0.2, atol=1e-3)
    x, sigmas = latents[:2] + 5 * white[:2], torch.tensor([14.0, 5.0, 1.0, 0.2, 0.0], dtype=torch.float64)
    asked: list[float] = []

    def predict(x: torch.Tensor, sigma: torch.Tensor, conds: list) -> list[torch.Tensor]:
        asked.append(float(sigma))
        return [x] * len(conds)

    teleport = accelerators["teleport"](share=0.5, plan="toy/cloud")
    with teleport.apply(predict, Run(None, sigmas, host())) as skipping:
        one, other = skipping(x, sigmas[1], [None, None])
        skipping(x, sigmas[2], [None])
    exact_one = gaussian(x, sigmas[1], torch.ones(()).double(), mean, spectrum)
    assert asked == [1.0] and torch.equal(one, other)
    assert float((one - exact_one).norm() / (exact_one - mean[:, None, None]).norm()) < 0.1
    (toy.plans / "cloud.json").unlink()


@pytest.mark.parametrize("bias", [1.0, 1.25])
def test_a_network_that_misreads_its_noise_level_is_told_another(bias: float, toy: ModelSpec) -> None:
    """One that takes every level for `bias` times as much has to be told that much less; one that does not, nothing."""
    from pipelines.accelerators import accelerators
    from pipelines.calibration.recalibration import measured
    from pipelines.types import Run

    density = mixture()

    def misreading(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        read = bias * sigma
        seen = x * ((read**2 + 1) / (sigma**2 + 1)).sqrt()
        return x - sigma * (seen - density(seen, read)) / read

    subject = exact(misreading, 512)
    clean = converged(exact(density, 512))
    plan = measured(subject, clean, 8, rounds=4)
    levels, told = (torch.tensor(plan.tables[name])[:, 0] for name in ("sigma", "told"))
    middle = (levels > 0.15) & (levels < 3)  # where noise and picture both count
    torch.testing.assert_close((levels / told)[middle], torch.full_like(told[middle], bias), rtol=0.12, atol=0)
    assert toy.plans
    keep(toy, "told", plan)
    sigmas = subject.fine(8)
    x, errors = clean + levels[4] * torch.randn(clean.shape, generator=torch.Generator().manual_seed(5)).double(), []
    for force in (0.0, 1.0):
        method = accelerators["noise_shift"](force=force, plan="toy/told")
        with method.apply(lambda x, s, conds: [misreading(x, s)] * len(conds), Run(None, sigmas, host())) as predict:
            errors.append(float((predict(x, levels[4].double(), [None])[0] - clean).square().mean()))
    assert errors[1] < errors[0] if bias != 1 else errors[1] == pytest.approx(errors[0], rel=0.05)
    (toy.plans / "told.json").unlink()


def test_what_cannot_be_made_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boss", "--model", "nowhere"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
