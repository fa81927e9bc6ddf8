"""Rows of `tests.quality.systems` about solvers and what goes with them, on exact densities."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from tests.densities import STABLE, converged, exact, mixture
from tests.quality.lab import row


@row("A2", "score-SDE: mean NLL of a mixture by the flow within 1 % of exact")
def likelihood() -> tuple[str, bool]:
    from pipelines.likelihood import log_likelihood
    from pipelines.samplers import Path
    from tests.densities import log_density, samples

    seen = samples(256)
    levels = list(torch.logspace(-2, 1.9, 320, dtype=torch.float64))
    axes = [16**0.5 * axis.view(1, 16, 1, 1) for axis in torch.eye(16, dtype=torch.float64)]
    ours = -log_likelihood(mixture(), seen, levels, Path(), axes, nudge=1e-4).mean()
    true = -log_density(seen).mean()
    return f"{ours:.3f} against {true:.3f} nats, {float((ours / true - 1).abs()):.2%} off", bool(
        (ours / true - 1).abs() < 0.01
    )


@row("A11", "AutoDiffusion: 4 searched levels <= 0.5 of the error of DDIM at 4 even ones, from other starts")
def autodiffusion() -> tuple[str, bool]:
    from pipelines.calibration.evolution import cost_of, evolved, moved, parents
    from pipelines.models.noise import sigma_table
    from pipelines.samplers import samplers

    subject, other = exact(mixture(), 128), exact(mixture(), 128, seed=9)
    fine, true = subject.fine(64), converged(other)
    first = [each for each in parents(4, 64) if each.steps[0] == ("x0", 2, False)]
    best, _ = evolved(first, partial(moved, fine=64), cost_of(subject, fine, converged(subject)), 400)
    table = sigma_table(STABLE).double()
    at = torch.linspace(len(table) - 1, (len(table) - 1) / 8, 4, dtype=torch.float64).round().long()
    even = torch.cat([table[at], table.new_zeros(1)])
    ours, ddim = cost_of(other, fine, true)(best), other.error(other.walked(samplers["ddim"](), even), true)
    return f"{ours:.1e} against {ddim:.1e}: {ours / ddim:.2f}", ours <= ddim / 2


@row("A13", "teleport: end moved by a median MSE < 1e-5 where 1/3 of an 18-step EDM grid is skipped, on a mixture")
def teleport() -> tuple[str, bool]:
    from pipelines.accelerators.teleport import gaussian
    from pipelines.calibration.spectrum import measured
    from pipelines.calibration.subject import Subject
    from pipelines.samplers import Path, samplers

    denoise = mixture()
    noise = torch.randn(256, 16, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    subject = Subject(denoise, 80 * noise, Path(), (0.002, 80.0))
    sigmas = subject.fine(18)
    tables = measured(converged(exact(denoise, 4096, seed=3), 60)).tables
    mean, spectrum = (torch.tensor(tables[name], dtype=torch.float64) for name in ("mean", "spectrum"))

    def skipping(x: Tensor, sigma: Tensor) -> Tensor:
        if float(sigma) > float(sigmas[6]) * 1.0001:  # the first 6 of 18
            return gaussian(x, sigma, torch.ones_like(sigma), mean[0], spectrum)
        return denoise(x, sigma)

    plain = subject.walked(samplers["heun"](), sigmas)
    ends = Subject(skipping, subject.starts, Path(), subject.ends).walked(samplers["heun"](), sigmas)
    error = subject.error(ends, plain)
    return f"{error:.1e}", error < 1e-5


@row("A28", "product of two mixtures: KL < 0.05 with 10 Langevin steps a level, the summed scores alone > 0.12")
def product() -> tuple[str, bool]:
    from pipelines.samplers import samplers
    from tests.test_samplers import divergence_from_product

    ours = divergence_from_product(samplers["annealed_mcmc"](settling=10, stride=0.4))
    plain = divergence_from_product(samplers["euler_ancestral"]())
    return f"{ours:.3f} against {plain:.3f}", ours < 0.05 and plain > 0.12
