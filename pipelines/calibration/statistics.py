"""Empirical model statistics for DPM-Solver-v3, a channel at a time."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pipelines.plans import Plan

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.calibration.subject import Subject

NUDGE = 0.01  # of x's deviation: how far a slope of the network is looked along
STEADY = 1e-6  # added to a variance, beside the mean square


def measured(subject: Subject, levels: int = 60, seed: int = 0) -> Plan:
    """l, s and b by lambda along fine walks. Zheng et al. 2023, Section 3.2 and Appendix C (arXiv:2310.13268).

    l is the mean diagonal of sigma d eps / d x, by Hutchinson's estimator on central differences in place of JVPs; s
    and b are the least-squares fit f' = s f + b over starting points and places. Three estimates a level and point.
    """
    import torch

    from pipelines.samplers.polynomials import log_snrs

    sigmas = subject.fine(levels)
    source = torch.Generator().manual_seed(seed)
    x, diagonals, ys, cleans = subject.starts, [], [], []
    last: Tensor | None = None
    kept = [i for i, lam in enumerate(log_snrs(sigmas, subject.path)[:-1]) if abs(lam) < float("inf")]
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = subject.denoise(x, sigma)
        alpha = subject.path.alpha(sigma)
        if i in kept:
            diagonals.append(diagonal(subject, x, sigma, source))
            ys.append(x / alpha)
            cleans.append(denoised)
        if sigma_next == 0:
            break
        x, last = second_order(subject, x, denoised, last, sigmas, i), denoised
    lams = torch.tensor([log_snrs(sigmas, subject.path)[i] for i in kept], dtype=torch.float64)
    slopes = torch.stack(diagonals)  # (n, C)
    y, clean = torch.stack(ys).double(), torch.stack(cleans).double()  # (n, N, C, h, w)
    f = y - clean - slopes.to(y)[:, None, :, None, None] * y
    s, b = fitted(f, lams)
    tables = {"lambda": lams[:, None], "l": slopes, "s": s, "b": b}
    return Plan(
        kind="statistics", method="dpm_v3", tables={letter: rows.double().tolist() for letter, rows in tables.items()}
    )


def second_order(subject: Subject, x: Tensor, denoised: Tensor, last: Tensor | None, sigmas: Tensor, i: int) -> Tensor:
    """One step of DPM-Solver++ 2M down the grid."""
    from pipelines.samplers.polynomials import log_snrs, mixed, weights

    nodes = log_snrs(sigmas[max(0, i - 1) : i + 2], subject.path)
    end, values = nodes.pop(), [denoised]
    nodes.reverse()
    if last is not None and abs(nodes[1]) < float("inf"):
        values.append(last)
    alpha, alpha_next, ratio = (
        subject.path.alpha(sigmas[i]),
        subject.path.alpha(sigmas[i + 1]),
        sigmas[i + 1] / sigmas[i],
    )
    if len(values) == 1:
        return ratio * x + (alpha_next - alpha * ratio) * denoised
    return ratio * x + alpha_next * mixed(weights(nodes, nodes[0], end, growth=1), values)


def diagonal(subject: Subject, x: Tensor, sigma: Tensor, source: object) -> Tensor:
    """The mean diagonal of sigma d eps / d x of each channel, (C,): 1 - alpha d x0 / d x."""
    import torch

    signs = torch.randint(0, 2, x.shape, generator=source).to(x) * 2 - 1  # type: ignore[call-overload]
    nudge = NUDGE * float(x.std()) * signs
    change = (subject.denoise(x + nudge, sigma) - subject.denoise(x - nudge, sigma)) / (2 * NUDGE * x.std())
    return 1 - subject.path.alpha(sigma) * (signs * change).mean([0, 2, 3])


def fitted(f: Tensor, lams: Tensor) -> tuple[Tensor, Tensor]:
    """s and b (n, C) of f' = s f + b, least squares over starting points and places; f is (n, N, C, h, w)."""
    import torch

    (rate,) = torch.gradient(f, spacing=(lams,), dim=0)
    over = [1, 3, 4]
    mean, mean_rate = f.mean(over, keepdim=True), rate.mean(over, keepdim=True)
    shared = ((f - mean) * (rate - mean_rate)).mean(over)
    own = (f - mean).square().mean(over) + STEADY * f.square().mean(over)
    s = shared / own.clamp(min=1e-12)
    return s, mean_rate[:, 0, :, 0, 0] - s * mean[:, 0, :, 0, 0]
