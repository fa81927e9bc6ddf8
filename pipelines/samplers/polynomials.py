"""What multistep samplers share: the past of a walk, and exact integrals of the polynomial through it.

Every solver here integrates a polynomial times an exponential of lambda = log(alpha / sigma), the path's log-SNR:
with x0 as the polynomial e^{+lambda}, with eps e^{-lambda}. Zhang & Chen 2023, Equation 15 (arXiv:2204.13902).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Path

POINTS = 24  # of the quadrature; exact to float64 for any polynomial here over steps of up to 10 in lambda


def log_snrs(sigmas: Tensor, path: Path) -> list[float]:
    """lambda of every noise level in float64, on the host: rising, infinite at sigma 0 and where alpha is 0."""
    import torch

    return [float(each) for each in path.log_snr(torch.tensor(sigmas.tolist(), dtype=torch.float64))]


def weights(nodes: Sequence[float], start: float, end: float, growth: float) -> list[float]:
    """w_j = the integral of e^{growth (lambda - end)} l_j(lambda) from start to end, l_j Lagrange's over `nodes`."""
    middle, half = (start + end) / 2, (end - start) / 2
    at = [(middle + half * point, half * weight) for point, weight in quadrature()]
    return [
        sum(weight * math.exp(growth * (lam - end)) * lagrange(nodes, j, lam) for lam, weight in at)
        for j in range(len(nodes))
    ]


def lagrange(nodes: Sequence[float], j: int, at: float) -> float:
    """The polynomial that is 1 at node j and 0 at the others."""
    return math.prod((at - node) / (nodes[j] - node) for i, node in enumerate(nodes) if i != j)


@cache
def quadrature() -> list[tuple[float, float]]:
    """Gauss-Legendre points and weights on [-1, 1]."""
    import numpy as np

    points, strengths = np.polynomial.legendre.leggauss(POINTS)
    return list(zip(points.tolist(), strengths.tolist(), strict=True))


def mixed(strengths: Sequence[float], values: Sequence[Tensor]) -> Tensor:
    """The sum of `values`, each times its strength."""
    total = strengths[0] * values[0]
    for strength, value in zip(strengths[1:], values[1:], strict=True):
        total = total + strength * value
    return total


class Past:
    """The latest estimates of a walk, newest first, `length` of them at most.

    What was estimated at infinite lambda, from pure noise on a straight path, is no node of a polynomial: it is used
    for its own step and then forgotten.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.lams: list[float] = []
        self.values: list[Tensor] = []

    def add(self, lam: float, value: Tensor) -> None:
        """Remember an estimate."""
        if self.lams and not math.isfinite(self.lams[0]):
            self.lams, self.values = [], []
        self.lams = [lam, *self.lams][: self.length]
        self.values = [value, *self.values][: self.length]
