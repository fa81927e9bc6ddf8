"""Markov chains at every noise level: composed prompts need them, whose scores add up to that of no noised product."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.knobs import knob
from pipelines.samplers import Path, Sampler, Step, samplers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling

Settling = Annotated[
    int,
    *knob("Settling", "How many small moves settle each noise level: more joins prompts better.", ge=1, le=20, step=1),
]
Stride = Annotated[
    float, *knob("Stride", "How far such a move goes, beside the noise of its level.", ge=0.02, le=0.8, step=0.02)
]
Kernel = Annotated[
    Literal["langevin", "hamiltonian"],
    *knob("Moves", "Langevin moves feel their way; Hamiltonian ones keep their swing and travel further."),
]
KEPT = 0.5  # of the momentum from one Hamiltonian move to the next


@samplers.register("annealed_mcmc")
class AnnealedMcmc(Sampler):
    """Settles every noise level before the next, for composed prompts. Du et al. 2023, Algorithm 1 (arXiv:2302.11552).

    Unadjusted Langevin and unadjusted Hamiltonian moves, Section 4.2, of size (stride sigma)^2.
    """

    title = "Annealed MCMC"
    order = 0
    calls = 5

    settling: Settling = 4
    stride: Stride = 0.4
    moves: Kernel = "langevin"

    def evaluations(self, steps: int) -> int:
        return steps + (steps - 1) * self.settling

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            yield Step(i, denoised)
            eps = (x - path.alpha(sigma) * denoised) / sigma
            x = path.alpha(sigma_next) * denoised + sigma_next * eps
            if sigma_next > 0:
                x = self._settled(denoise, x, sigma_next, path)
        return x

    def _settled(self, denoise: Denoise, x: Tensor, sigma: Tensor, path: Path) -> Tensor:
        size = self.stride * sigma
        momentum = path.noise(x) if self.moves == "hamiltonian" else None
        for _ in range(self.settling):
            pull = size * (path.alpha(sigma) * denoise(x, sigma) - x) / sigma**2  # size times the score
            if momentum is None:
                x = x + size / 2 * pull + size * path.noise(x)
                continue
            momentum = KEPT * (momentum + pull) + (1 - KEPT**2) ** 0.5 * path.noise(x)
            x = x + size * momentum
        return x
