"""UniPC: a multistep predictor, and a corrector that costs no call."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.knobs import knob
from pipelines.samplers import Path, Sampler, Step, samplers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling

Remembered = Annotated[
    int, *knob("Memory", "How many of its latest estimates each step weighs: 2 guided, 3 not.", ge=1, le=3, step=1)
]
Weighing = Annotated[
    Literal["bh1", "bh2"], *knob("Weighing", "How a step of two estimates weighs them: bh1 for few steps unguided.")
]


@samplers.register("unipc")
class UniPc(Sampler):
    """Corrects each step when the next estimate is there, for free.

    Zhao et al. 2023, Algorithms 5 to 8 (arXiv:2302.04867).

    The order is that of the corrector: one more than the predictor has.
    """

    title = "UniPC"
    order = 3

    memory: Remembered = 2
    weighing: Weighing = "bh2"

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        from pipelines.samplers.polynomials import Past, log_snrs

        past, lams, before = Past(self.memory), log_snrs(sigmas, path), x
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            if sigma_next == 0:
                return denoised
            if past.lams and math.isfinite(past.lams[0]):
                nodes, values = [*past.lams, lams[i]], [*past.values, denoised]
                x = self._moved(before, nodes, values, sigmas[i - 1], sigma, lams[i], path)
            past.add(lams[i], denoised)
            before = x
            x = self._moved(x, past.lams, past.values, sigma, sigma_next, lams[i + 1], path)
        return x

    def _moved(
        self,
        x: Tensor,
        nodes: list[float],
        values: list[Tensor],
        sigma: Tensor,
        sigma_next: Tensor,
        end: float,
        path: Path,
    ) -> Tensor:
        """x carried over one step; nodes[0] is where it starts. Equation 3, data prediction."""
        from pipelines.samplers.polynomials import mixed, weights

        ratio, start = sigma_next / sigma, nodes[0]
        if len(nodes) == 1:
            return ratio * x + (path.alpha(sigma_next) - path.alpha(sigma) * ratio) * values[0]
        strengths = weights(nodes, start, end, growth=1)
        if len(nodes) == 2:  # Appendix F: a_1 = 1/2 whatever B(h) is
            h = end - start
            b = h if self.weighing == "bh1" else -math.expm1(-h)
            other = b * 0.5 * h / (nodes[1] - start)
            strengths = [-math.expm1(-h) - other, other]
        return ratio * x + path.alpha(sigma_next) * mixed(strengths, values)
