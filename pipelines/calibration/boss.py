"""Bellman's optimal step sizes: the levels at which an Euler walk of few steps leaves the fine one least."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.calibration.subject import Subject


def searched(subject: Subject, steps: int, fine: int = 100) -> Tensor:
    """Levels (steps + 1,) out of a fine grid. BOSS, Nguyen et al. 2024, Section 4.1 (arXiv:2312.16414)."""
    sigmas = subject.fine(fine)
    return sigmas[best_path(leaps(subject, sigmas), steps)]


def leaps(subject: Subject, sigmas: Tensor) -> Tensor:
    """Cost (n, n) of a leap from level i to j: how far Euler's step from x_i ends from x_j, squared, as a mean."""
    import torch

    xs, slopes, x = [subject.starts], [], subject.starts
    for sigma, sigma_next in pairwise(sigmas):
        slopes.append((x - subject.denoise(x, sigma)) / sigma)
        x = x + slopes[-1] * (sigma_next - sigma)
        xs.append(x)
    cost = torch.full((len(sigmas), len(sigmas)), float("inf"), dtype=torch.float64)
    for i, slope in enumerate(slopes):
        for j in range(i + 1, len(sigmas)):
            cost[i, j] = float((xs[i] + slope * (sigmas[j] - sigmas[i]) - xs[j]).square().mean())
    return cost


def best_path(cost: Tensor, steps: int) -> list[int]:
    """The cheapest way from the first index to the last in exactly so many leaps: Bellman's equation, backwards."""
    count = len(cost)
    best = cost[:, -1].tolist()  # of one leap to the end
    choices: list[Sequence[int]] = []
    for _ in range(steps - 1):
        onward = [[float(cost[i, j]) + best[j] for j in range(count)] for i in range(count)]
        choices.append([min(range(count), key=row.__getitem__) for row in onward])
        best = [min(row) for row in onward]
    path = [0]
    for choice in reversed(choices):
        path.append(choice[path[-1]])
    return [*path, count - 1]
