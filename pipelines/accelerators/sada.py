"""SADA: steps left out where the walk is stable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from pipelines.accelerators import Accelerator, accelerators
from pipelines.knobs import knob
from pipelines.types import exploding

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Guide, Predict, Run

Longest = Annotated[
    int,
    *knob(
        "In a row", "How many steps may be left out one after the other: 0 none, more is faster.", ge=0, le=4, step=1
    ),
]
WARM = 3  # steps computed at the start: the criterion looks three back


@dataclass
class Trail:
    """What was seen of a walk, newest first: x, sigma, slope and x0 of each step, and the x0 that were computed."""

    xs: list[Tensor] = field(default_factory=list)
    sigmas: list[Tensor] = field(default_factory=list)
    slopes: list[Tensor] = field(default_factory=list)
    computed: list[tuple[int, Tensor]] = field(default_factory=list)
    left_out: int = 0  # in a row

    def add(self, x: Tensor, sigma: Tensor, denoised: Tensor) -> None:
        """Remember a step: dx/dsigma = (x - x0) / sigma on every path."""
        self.xs = [x, *self.xs][:1]
        self.sigmas = [sigma, *self.sigmas][:1]
        self.slopes = [(x - denoised) / sigma, *self.slopes][:3]


@accelerators.register("sada")
class Sada(Accelerator):
    """Leaves steps out where the walk runs straight.

    Jiang et al. 2025, Criterion 3.4 and Sections 3.3 and 3.4 (arXiv:2507.17135): a step is stable where what a
    third-order step would have missed points against the change of its slope. It then keeps the noise it knew, or, in
    the second half, extends the last four x0. Whole steps only; the paper's pruning of single tokens is not here.
    """

    title = "SADA"
    off = {"longest": 0}

    longest: Longest = 2

    @contextmanager
    def around(self, guide: Guide, run: Run) -> Iterator[Guide]:
        if self.longest == 0:
            yield guide
            return
        trail = Trail()
        last = len(run.sigmas) - 2
        known: dict[str, int] = {"step": -1}

        def spared(predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
            step = run.step(sigma)
            if step == known["step"]:  # a second look within a step
                return guide(predict, x, sigma, cond, uncond)
            known["step"] = step
            if WARM <= step < last and trail.left_out < self.longest and stable(trail, x, sigma):
                denoised = self._continued(trail, x, sigma, step, run)
                trail.left_out += 1
            else:
                denoised = guide(predict, x, sigma, cond, uncond)
                trail.computed = [(step, denoised), *trail.computed][:4]
                trail.left_out = 0
            trail.add(x, sigma, denoised)
            return denoised

        yield spared

    def _continued(self, trail: Trail, x: Tensor, sigma: Tensor, step: int, run: Run) -> Tensor:
        """x0 without the network. Section 3.3: the noise of before; Section 3.4: Lagrange's polynomial through x0."""
        from pipelines.samplers.polynomials import lagrange, mixed

        if step < (len(run.sigmas) - 1) / 2 or len(trail.computed) < 4:
            alpha, before = (run.spec.alpha if run.spec else exploding), trail.sigmas[0]
            denoised = trail.xs[0] - before * trail.slopes[0]
            eps = (trail.xs[0] - alpha(before) * denoised) / before
            return (x - sigma * eps) / alpha(sigma) if alpha(sigma) > 0 else denoised
        nodes = [float(at) for at, _ in trail.computed]
        return mixed([lagrange(nodes, j, step) for j in range(4)], [each for _, each in trail.computed])


def stable(trail: Trail, x: Tensor, sigma: Tensor) -> bool:
    """Criterion 3.4: the mean of (x - x_hat) times the second difference of the slope is not above 0.

    x_hat = x_before + (s - s_before) (5/8 f + 3/4 f_before - 3/8 f_before_that).
    """
    if len(trail.slopes) < 3:
        return False
    one, two, three = trail.slopes
    ahead = trail.xs[0] + (sigma - trail.sigmas[0]) * (0.625 * one + 0.75 * two - 0.375 * three)
    return bool(((x - ahead) * (one - 2 * two + three)).mean() <= 0)
