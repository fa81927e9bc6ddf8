"""Nested diffusion: every step ends in a finished picture."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.samplers import Path, Sampler, Step, samplers
from pipelines.samplers.ddim import split

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling

Inner = Annotated[
    int, *knob("Inner steps", "How many steps each picture on the way is painted in.", ge=1, le=20, step=1)
]
RHO = 7.0  # the inner levels crowd to the clean end, as Karras et al.'s do


@samplers.register("nested")
class Nested(Sampler):
    """Each step paints a whole picture you may stop at, then paints it better.

    Elata et al. 2024, Algorithm 2 (arXiv:2305.19066).
    """

    title = "Nested (stop any time)"
    order = 0
    calls = 5

    inner: Inner = 5

    def evaluations(self, steps: int) -> int:
        return (steps - 1) * self.inner + 1

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        low = sigmas[-2]  # the last level above 0: every inner walk ends there, too
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            last = bool(sigma == low)
            finished = denoise(x, sigma) if last else self._painted(denoise, x, sigma, low, path)
            yield Step(i, finished)
            x = drawn_towards(x, finished, sigma, sigma_next, path)
        return x

    def _painted(self, denoise: Denoise, x: Tensor, sigma: Tensor, low: Tensor, path: Path) -> Tensor:
        """x0 drawn from p(x0 | x) by a short ancestral walk of its own."""
        ends = sigma ** (1 / RHO), low ** (1 / RHO)
        levels = [(ends[0] + k / max(1, self.inner - 1) * (ends[1] - ends[0])) ** RHO for k in range(self.inner)]
        for level, below in pairwise([*levels, sigma * 0]):
            x = drawn_towards(x, denoise(x, level), level, below, path)
        return x


def drawn_towards(x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor, path: Path) -> Tensor:
    """A sample of q(x' | x, x0): DDIM at eta 1."""
    down, up = split(sigma, sigma_next, 1.0, path)
    x = path.alpha(sigma_next) * denoised + down * (x - path.alpha(sigma) * denoised) / sigma
    return x + up * path.noise(x) if up > 0 else x
