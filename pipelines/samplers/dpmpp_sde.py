"""DPM-Solver++, second order, singlestep, on the reverse SDE."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import Eta, knob
from pipelines.samplers import Path, Sampler, Step, samplers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling

Midpoint = Annotated[float, *knob("Midpoint", "Where within a step the second call looks.", ge=0.1, le=0.9, step=0.05)]


@samplers.register("dpmpp_sde")
class DpmppSde(Sampler):
    """Fresh noise and two calls per step: rich detail in few steps. Lu et al. 2022, Section 5 (arXiv:2211.01095)."""

    order = 0
    calls = 2

    eta: Eta = 1.0
    midpoint: Midpoint = 0.5

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            if sigma_next == 0:
                return denoised
            middle = between(sigma, sigma_next, self.midpoint, path)
            early = self._noise(x, sigma, middle, path)
            at_middle = denoise(self._carried(x, denoised, sigma, middle, path) + early, middle)
            leaning = denoised.lerp(at_middle, 1 / (2 * self.midpoint))
            # the noise of the whole step: what the middle has seen, carried on, and what came after it
            late = self._carried(early, denoised * 0, middle, sigma_next, path)
            x = self._carried(x, leaning, sigma, sigma_next, path) + late + self._noise(x, middle, sigma_next, path)
        return x

    def _carried(self, x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor, path: Path) -> Tensor:
        """The mean of the SDE's exact solution over one step if x0 were constant; eta 0 is the ODE, 1 the reverse SDE.

        x' = sigma'/sigma e^{-eta^2 h} x + alpha' (1 - e^{-(1 + eta^2) h}) x0, with h the step in log-SNR.
        """
        h = path.log_snr(sigma_next) - path.log_snr(sigma)
        lost = self.eta**2 * h if self.eta else h.new_zeros(())  # h is infinite from the pure noise of a straight path
        return sigma_next / sigma * (-lost).exp() * x - path.alpha(sigma_next) * (-(h + lost)).expm1() * denoised

    def _noise(self, x: Tensor, sigma: Tensor, sigma_next: Tensor, path: Path) -> Tensor:
        """The noise of that solution: sigma' sqrt(1 - e^{-2 eta^2 h}) z."""
        if self.eta == 0:
            return x * 0
        h = path.log_snr(sigma_next) - path.log_snr(sigma)
        return sigma_next * (-(-2 * self.eta**2 * h).expm1()).sqrt() * path.noise(x)


def between(sigma: Tensor, sigma_next: Tensor, share: float, path: Path) -> Tensor:
    """The noise level at `share` of the way in lambda: sigma = 1 / (e^lambda / alpha), solved for both paths.

    From pure noise on a straight path, infinitely far in lambda, it is `share` of the way in sigma.
    """
    if path.alpha(sigma) == 0:
        return sigma.lerp(sigma_next, share)
    lam = path.log_snr(sigma).lerp(path.log_snr(sigma_next), share)
    if path.alpha(sigma) == 1:
        return (-lam).exp()
    return (-lam).sigmoid()  # alpha = 1 - sigma: lambda = log((1 - sigma) / sigma)
