"""DPM-Solver-v3: the solver fitted to a model by statistics measured once."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.plans import Plan, PlanName, read
from pipelines.samplers import Path, Sampler, Step, samplers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling

Remembered = Annotated[
    int, *knob("Memory", "How many of its latest estimates each step weighs: 2 guided, 3 not.", ge=1, le=3, step=1)
]
Corrected = Annotated[bool, *knob("Correct", "Correct each step when the next estimate is there.", "toggle")]
PARTS = 48  # of a step, over which its integrals are summed


@samplers.register("dpm_v3")
class DpmV3(Sampler):
    """Fits its steps to one model by statistics measured once: fewest steps. Zheng et al. 2023 (arXiv:2310.13268).

    With y = x / alpha, dy/dlambda = -l y - f, f = e^{-lambda} eps - l y; f' is near s f + b, so that
    g = e^{-S} f - int e^{-S} b changes least, and is what the polynomial extends: Equations 7 to 14. l, s and b per
    channel are a plan's. Without one l = 1, s = b = 0, which is DPM-Solver++ with UniPC's corrector.
    """

    title = "DPM-Solver-v3"
    order = 3

    plan: PlanName = ""
    memory: Remembered = 2
    correct: Corrected = True

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        from pipelines.samplers.polynomials import Past, log_snrs

        known = Statistics(read(self.plan, "statistics") if self.plan else None, x)
        past, lams, before = Past(self.memory), log_snrs(sigmas, path), x
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            if sigma_next == 0:
                return denoised
            if not math.isfinite(lams[i]):
                ratio = sigma_next / sigma
                x = ratio * x + (path.alpha(sigma_next) - path.alpha(sigma) * ratio) * denoised
                continue
            alpha = path.alpha(sigma)
            f = known.slope(lams[i], x / alpha, denoised)
            if self.correct and past.lams:
                x = alpha * known.moved(before, [*past.lams, lams[i]], [*past.values, f], lams[i])
            past.add(lams[i], f)
            before = x / alpha
            x = path.alpha(sigma_next) * known.moved(before, past.lams, past.values, lams[i + 1])
        return x


class Statistics:
    """l, s and b of each channel by lambda, and the exact step that they make."""

    def __init__(self, plan: Plan | None, like: Tensor) -> None:
        import torch

        tables = (
            plan.tables if plan else {"lambda": [[-20.0], [20.0]], "l": [[1.0]] * 2, "s": [[0.0]] * 2, "b": [[0.0]] * 2}
        )
        made = {letter: torch.tensor(rows, dtype=torch.float64) for letter, rows in tables.items()}
        self.lams = made["lambda"][:, 0]
        self.rows = torch.stack([made[letter] for letter in "lsb"])  # (3, levels, channels)
        self.like = like

    def at(self, lams: Tensor) -> Tensor:
        """l, s and b at each lambda, (3, n, channels); the ends hold beyond them."""
        import torch

        lams = lams.clamp(float(self.lams[0]), float(self.lams[-1]))
        above = torch.searchsorted(self.lams, lams).clamp(1, len(self.lams) - 1)
        share = ((lams - self.lams[above - 1]) / (self.lams[above] - self.lams[above - 1]))[:, None]
        return self.rows[:, above - 1].lerp(self.rows[:, above], share)

    def slope(self, lam: float, y: Tensor, denoised: Tensor) -> Tensor:
        """f = e^{-lambda} eps - l y, with e^{-lambda} eps = y - x0."""
        import torch

        own = self.at(torch.tensor([lam], dtype=torch.float64))[0, 0]
        return y - denoised - self._shaped(own) * y

    def moved(self, y: Tensor, nodes: list[float], values: list[Tensor], end: float) -> Tensor:
        """y carried from nodes[0] to `end`, g being the polynomial through the values at the nodes."""
        import torch

        from pipelines.samplers.polynomials import lagrange

        start = nodes[0]
        lams = torch.linspace(start, end, PARTS + 1, dtype=torch.float64)
        long, swell, drift = self._integrals(lams)
        pull = (long + swell).exp()  # e^{L + S}
        total = self._shaped(torch.trapezoid(pull * drift, lams, dim=0)) + 0 * y
        for j, (node, value) in enumerate(zip(nodes, values, strict=True)):
            line = torch.tensor([lagrange(nodes, j, float(lam)) for lam in lams], dtype=torch.float64)[:, None]
            weight = self._shaped(torch.trapezoid(pull * line, lams, dim=0))
            back = torch.linspace(start, node, PARTS + 1, dtype=torch.float64)
            _, s, b = self._integrals(back)
            total = total + weight * (self._shaped((-s[-1]).exp()) * value - self._shaped(b[-1]))
        return self._shaped((-long[-1]).exp()) * (y - total)

    def _integrals(self, lams: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """L, S and B = int e^{-S} b from lams[0] up to each, (n, channels)."""
        import torch

        lean, bend, push = self.at(lams)
        long, swell = (summed(each, lams) for each in (lean, bend))
        return long, swell, summed(torch.exp(-swell) * push, lams)

    def _shaped(self, channels: Tensor) -> Tensor:
        return channels.to(self.like)[:, None, None] if channels.numel() > 1 else channels.to(self.like)[0]


def summed(values: Tensor, lams: Tensor) -> Tensor:
    """The integral from lams[0] up to each, by trapezoids, (n, channels)."""
    import torch

    steps = (values[1:] + values[:-1]) / 2 * (lams[1:] - lams[:-1])[:, None]
    return torch.cat([torch.zeros_like(values[:1]), steps.cumsum(0)])
