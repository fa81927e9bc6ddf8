"""Pseudo numerical methods: multistep on the estimated noise, and their Runge-Kutta start."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.samplers import Path, Sampler, Step, samplers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling

Momentum = Annotated[
    float,
    *knob(
        "Damping",
        "Smooths the direction of the walk where strong guidance makes it overshoot: 1 leaves it, less is smoother.",
        ge=0.1,
        le=1,
        step=0.05,
    ),
]
ADAMS: list[list[float]] = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]]


@samplers.register("plms")
class Plms(Sampler):
    """Weighs its last four estimates of the noise; the first step looks twice.

    Liu et al. 2022, S-PNDM (arXiv:2202.09778).

    On levels that are not even the fixed weights are second order, as the paper proves. The damping is heavy-ball
    momentum, Wizadwongsa et al. 2024, Equation 9 (arXiv:2307.11118).
    """

    order = 2

    damping: Momentum = 1.0

    def evaluations(self, steps: int) -> int:
        return steps + (steps > 1)

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        from pipelines.samplers.polynomials import mixed

        past: list[Tensor] = []
        velocity: Tensor | None = None
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            past = [noise_in(x, denoised, sigma, path), *past][:4]
            eps = mixed(ADAMS[len(past) - 1], past)
            if i == 0 and sigma_next > 0:
                ahead = transferred(x, denoised, eps, eps, sigma, sigma_next, path)
                eps = (eps + noise_in(ahead, denoise(ahead, sigma_next), sigma_next, path)) / 2
            velocity = eps if velocity is None or self.damping == 1 else velocity.lerp(eps, self.damping)
            x = transferred(x, denoised, past[0], velocity, sigma, sigma_next, path)
        return x


@samplers.register("pndm")
class Pndm(Sampler):
    """As PLMS, with three careful steps of four calls at the start. Liu et al. 2022, F-PNDM (arXiv:2202.09778)."""

    order = 2

    def evaluations(self, steps: int) -> int:
        return steps + 3 * min(3, steps - 1)

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        from pipelines.samplers.polynomials import mixed

        past: list[Tensor] = []
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            past = [noise_in(x, denoised, sigma, path), *past][:4]
            if i < 3 and sigma_next > 0:
                eps = self._runge_kutta(denoise, x, denoised, past[0], sigma, sigma_next, path)
            else:
                eps = mixed(ADAMS[len(past) - 1], past)
            x = transferred(x, denoised, past[0], eps, sigma, sigma_next, path)
        return x

    def _runge_kutta(
        self, denoise: Denoise, x: Tensor, denoised: Tensor, eps: Tensor, sigma: Tensor, sigma_next: Tensor, path: Path
    ) -> Tensor:
        """Equation 13: four looks at the noise over one step, weighed 1, 2, 2, 1."""
        middle = (sigma * sigma_next).sqrt()
        looks = [eps]
        for level in (middle, middle, sigma_next):
            ahead = transferred(x, denoised, eps, looks[-1], sigma, level, path)
            looks.append(noise_in(ahead, denoise(ahead, level), level, path))
        return (looks[0] + 2 * looks[1] + 2 * looks[2] + looks[3]) / 6


def noise_in(x: Tensor, denoised: Tensor, sigma: Tensor, path: Path) -> Tensor:
    """The noise eps that x = alpha x0 + sigma eps holds beside x0."""
    return (x - path.alpha(sigma) * denoised) / sigma


def transferred(
    x: Tensor, denoised: Tensor, own: Tensor, eps: Tensor, sigma: Tensor, sigma_next: Tensor, path: Path
) -> Tensor:
    """DDIM's transfer with another eps than x's `own`: Equation 11, x' = alpha'/alpha (x - sigma eps) + sigma' eps.

    Where alpha is 0, at the pure noise of a straight path, x says nothing of x0 and its own estimate stands.
    """
    if path.alpha(sigma) == 0:
        return path.alpha(sigma_next) * denoised + sigma_next * own
    return path.alpha(sigma_next) / path.alpha(sigma) * (x - sigma * eps) + sigma_next * eps
