"""Published methods against what their papers claim: row, criterion, figure, met or not. A row that is not met stays.

python -m tests.quality.systems                  # rows on exact densities, some minutes
python -m tests.quality.systems --rows A6 A12
python -m tests.quality.systems --pocket         # rows on the built-in model, too
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import combinations, pairwise

import torch
from torch import Tensor

from pipelines.calibration import boss
from pipelines.calibration.evolution import cost_of, evolved, parents, resolved
from pipelines.calibration.statistics import measured
from pipelines.calibration.subject import Subject
from pipelines.samplers import Sampler, samplers
from pipelines.samplers.dpm_v3 import DpmV3, Statistics
from pipelines.types import Run, exploding
from tests.densities import converged, exact, flowing, guided, mixture
from tests.quality.lab import LAB


@dataclass(frozen=True)
class Row:
    """One acceptance criterion of SYSTEMS.md, and the function that measures it: -> (figure, met)."""

    name: str
    criterion: str
    measure: Callable[[], tuple[str, bool]]
    needs_pocket: bool = False


ROWS: list[Row] = []


def row(name: str, criterion: str, pocket: bool = False) -> Callable[[Callable[[], tuple[str, bool]]], Callable]:
    """Adds a function to the table."""

    def keep(measure: Callable[[], tuple[str, bool]]) -> Callable:
        ROWS.append(Row(name, criterion, measure, pocket))
        return measure

    return keep


def even_in_time(subject: Subject, steps: int) -> Tensor:
    """Levels at equal training steps, as DDIM takes them, ends in 0."""
    from pipelines.models.noise import sigma_table
    from tests.densities import STABLE

    table = sigma_table(STABLE).double()
    at = torch.linspace(len(table) - 1, (len(table) - 1) / steps / 2, steps).round().long()
    return torch.cat([table[at], table.new_zeros(1)]).to(subject.starts)


def median(subject: Subject, sampler: Sampler, sigmas: Tensor, true: Tensor) -> float:
    return subject.error(subject.walked(sampler, sigmas), true)


def order_of(sampler: Sampler) -> float:
    """The order of convergence on Gaussian data, without the jump to 0."""
    from tests.test_samplers import median_error

    return math.log2(median_error(sampler, 40, "exploding") / median_error(sampler, 80, "exploding"))


@row("A1", "DDPM: mean and deviation of Gaussian data within 2 %")
def ddpm() -> tuple[str, bool]:
    from tests.test_samplers import DEVIATION, MEAN, even_in_log_snr, posterior, starts, walked

    sigmas = torch.cat([even_in_log_snr(20, 0.02, 1000, exploding), torch.zeros(1, dtype=torch.float64)])
    end = walked(samplers["ddpm"](), posterior(exploding), starts(40_000) * 20, sigmas)
    off = abs(float(end.mean()) / MEAN - 1), abs(float(end.std()) / DEVIATION - 1)
    return f"{off[0]:.1%}, {off[1]:.1%}", max(off) <= 0.02


@row("A2", "predictor-corrector: no further from the data than the predictor alone at as many estimates")
def score_sde() -> tuple[str, bool]:
    from tests.test_samplers import DEVIATION, MEAN, even_in_log_snr, posterior, starts, walked

    x = MEAN + starts(40_000) * (DEVIATION**2 + 20**2) ** 0.5
    off = []
    for corrections, steps in ((1, 20), (0, 40)):
        sigmas = torch.cat([even_in_log_snr(20, 0.02, steps, exploding), torch.zeros(1, dtype=torch.float64)])
        end = walked(samplers["score_sde"](corrections=corrections), posterior(exploding), x, sigmas)
        spread = float(end.std()) / DEVIATION
        off.append(math.log(1 / spread) + (spread**2 - 1) / 2)  # KL between the two normal distributions
    return f"KL {off[0]:.1e} against {off[1]:.1e}", off[0] <= off[1]


@row("A3", "Heun: order >= 1.9")
def heun() -> tuple[str, bool]:
    order = order_of(samplers["heun"]())
    return f"{order:.2f}", order >= 1.9


@row("A4", "PLMS: 50 steps <= 1/4 of DDIM's median error at 50")
def plms() -> tuple[str, bool]:
    subject = exact(mixture(), 256)
    true, sigmas = converged(subject), even_in_time(subject, 50)
    ours, ddim = (median(subject, samplers[name](), sigmas, true) for name in ("plms", "ddim"))
    return f"{ours / ddim:.2f}", ours <= ddim / 4


def quadratic_in_time(subject: Subject, steps: int) -> Tensor:
    """Levels at squares of equal steps in training time, as DEIS takes them: Appendix H.3. Ends in 0."""
    from pipelines.models.noise import sigma_table
    from tests.densities import STABLE

    table = sigma_table(STABLE).double()
    at = torch.linspace((len(table) - 1) ** 0.5, 0, steps, dtype=torch.float64).square()
    low, share = at.long().clamp(max=len(table) - 2), at - at.long().clamp(max=len(table) - 2)
    return torch.cat([table[low].lerp(table[low + 1], share), table.new_zeros(1)]).to(subject.starts)


@row("A5", "DEIS, on its own quadratic times: 15 estimates < DDIM at 20, and 20 < DDIM at 50")
def deis() -> tuple[str, bool]:
    subject = exact(mixture(), 256)
    true = converged(subject)
    ratios = [
        median(subject, samplers["deis"](), quadratic_in_time(subject, few), true)
        / median(subject, samplers["ddim"](), quadratic_in_time(subject, many), true)
        for few, many in ((15, 20), (20, 50))
    ]
    return ", ".join(f"{ratio:.2f}" for ratio in ratios), max(ratios) < 1


@row("A6", "DPM++ 2M: order >= 1.9; 3M, 3S: >= 2.7")
def dpmpp() -> tuple[str, bool]:
    orders = {name: order_of(samplers[name]()) for name in ("dpmpp_2m", "dpmpp_2s", "dpmpp_3m", "dpmpp_3s")}
    met = min(orders["dpmpp_2m"], orders["dpmpp_2s"]) >= 1.9 and min(orders["dpmpp_3m"], orders["dpmpp_3s"]) >= 2.7
    return ", ".join(f"{name[6:]} {order:.2f}" for name, order in orders.items()), met


class Fitted(DpmV3):
    """DPM-Solver-v3 with statistics that were never written down."""

    def walked(self, subject: Subject, sigmas: Tensor, known: Statistics) -> Tensor:
        import pipelines.samplers.dpm_v3 as module

        own, module.Statistics = module.Statistics, lambda *_: known  # type: ignore[misc,assignment]
        try:
            return subject.walked(self, sigmas)
        finally:
            module.Statistics = own  # type: ignore[misc]


@row("A7", "DPM-Solver-v3: at 5 and 10 estimates nearer than DPM++ 2M and UniPC, other starts than measured on")
def dpm_v3() -> tuple[str, bool]:
    denoise = guided(mixture(3), mixture(), 3.0)
    subject, said, met = exact(denoise, 256), [], True
    plan, true = measured(exact(denoise, 256, seed=7), 120), converged(subject)
    for steps in (5, 10):
        sigmas = subject.fine(steps)
        known = Statistics(plan, subject.starts)
        ours = subject.error(Fitted().walked(subject, sigmas, known), true)
        others = [median(subject, samplers[name](), sigmas, true) for name in ("dpmpp_2m", "unipc")]
        said.append(f"{steps}: {ours:.1e} against {others[0]:.1e}, {others[1]:.1e}")
        met = met and ours < min(others)
    return "; ".join(said), met


@row("A8", "GHVB 2.5 at scale 15 and 8 steps: median error <= 1/100 of PLMS")
def ghvb() -> tuple[str, bool]:
    subject = exact(guided(mixture(3), mixture(), 15.0), 256)
    true, sigmas = converged(subject, 800), even_in_time(subject, 8)
    ours, plms = (median(subject, samplers[name](), sigmas, true) for name in ("ghvb", "plms"))
    return f"{ours:.1e} against {plms:.1e}", ours <= plms / 100


@row("A9", "searched solver at 5 and 10 estimates: held-out error >= 20 % below the best fixed one")
def usf() -> tuple[str, bool]:
    said, met = [], True
    for steps in (5, 10):
        subject, other = exact(mixture(), 128), exact(mixture(), 128, seed=9)
        fine = subject.fine(64)
        cost, held = (cost_of(each, fine, converged(each)) for each in (subject, other))
        first = parents(steps, 64)
        best, _ = evolved(first, lambda *pair: resolved(*pair, fine=64), cost, 600)
        ratio = held(best) / min(held(each) for each in first)
        said.append(f"{steps}: {ratio:.2f}")
        met = met and ratio <= 0.8
    return ", ".join(said), met


@row("A12", "BOSS, on a flow: equals brute force; K 4, 6, 8: <= even steps and <= 1/2 of Karras")
def bellman() -> tuple[str, bool]:
    subject = flowing(mixture(), 128)
    fine, said = torch.linspace(1, 0, 101, dtype=torch.float64), []
    cost = boss.leaps(subject, fine)
    small = cost[:11, :11]
    paths = [(0, *inner, 10) for inner in combinations(range(1, 10), 3)]
    met = boss.best_path(small, 4) == list(min(paths, key=lambda path: sum(small[i, j] for i, j in pairwise(path))))
    true = subject.walked(samplers["euler"](), fine)
    for steps in (4, 6, 8):
        ramp = torch.linspace(1, subject.ends[0] ** (1 / 7), steps, dtype=torch.float64) ** 7
        karras_grid = torch.cat([ramp, ramp.new_zeros(1)])
        grids = (fine[boss.best_path(cost, steps)], torch.linspace(1, 0, steps + 1, dtype=torch.float64), karras_grid)
        found, even, karras = (
            float((subject.walked(samplers["euler"](), grid) - true).square().mean()) for grid in grids
        )
        said.append(f"{steps}: {found:.2f} against {even:.2f}, {karras:.2f}")
        met = met and found <= even and found <= karras / 2
    return "; ".join(said), met


@row("A19", "CFG++: pull 0 is the negative prompt's estimate, bit for bit")
def cfgpp() -> tuple[str, bool]:
    from pipelines.guidance import guidances
    from tests.accounting import host
    from tests.test_guidance import COND, SIGMAS, UNCOND, X, predict

    with guidances["cfgpp"](pull=0).apply(Run(None, SIGMAS, host())) as guide:
        same = [torch.equal(guide(predict, X, s, COND, UNCOND), predict(X, s, [UNCOND])[0]) for s in SIGMAS[:-1]]
    return f"{sum(same)} of {len(same)}", all(same)


@row("A29", "SuperDiff: log density along 2000 steps: bias < 0.02, deviation <= 0.2")
def superdiff() -> tuple[str, bool]:
    from pipelines.guidance.superdiff import Odds
    from tests.accounting import host
    from tests.test_guidance import mixture as separate

    denoise, log_density = separate([-1.0, 1.5])
    sigmas = torch.logspace(1, -1, 2001, dtype=torch.float64)
    odds, source = Odds(Run(None, torch.cat([sigmas, sigmas[:1] * 0]), host())), torch.Generator().manual_seed(0)
    x = start = 10 * torch.randn(2048, 1, 2, 2, dtype=torch.float64, generator=source)
    for sigma, sigma_next in pairwise(sigmas):
        denoised = denoise(x, sigma)
        odds.follow(x, sigma, denoised[None])
        fresh = torch.randn(x.shape, dtype=torch.float64, generator=source)
        x = x + 2 * (sigma_next - sigma) * (x - denoised) / sigma + (2 * sigma * (sigma - sigma_next)).sqrt() * fresh
    odds.follow(x, sigmas[-1], denoise(x, sigmas[-1])[None])
    error = odds.logs[0] - (log_density(x, sigmas[-1]) - log_density(start, sigmas[0]))
    bias, spread = float(error.mean()), float(error.std())
    return f"{bias:+.3f}, {spread:.3f}", abs(bias) < 0.02 and spread <= 0.2


for rows in ("exact", "speed", "painted"):
    import_module(f"tests.quality.rows_{rows}")  # they add to the table of the lab
for measured_there in LAB:
    row(measured_there[0], measured_there[1], measured_there[3])(measured_there[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", help="names of rows; all by default")
    parser.add_argument("--pocket", action="store_true", help="rows on the built-in model, too")
    options = parser.parse_args()
    print("| row | criterion | figure | met |\n|---|---|---|---|")
    for each in ROWS:
        if each.name not in (options.rows or [each.name]) or (each.needs_pocket and not options.pocket):
            continue
        figure, met = each.measure()
        print(f"| {each.name} | {each.criterion} | {figure} | {'yes' if met else 'no'} |", flush=True)


if __name__ == "__main__":
    main()
