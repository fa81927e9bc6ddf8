"""From a picture to the noise that paints it: walks up the noise levels, and edits that keep what their noise holds.

All of it speaks x0 and sigma, as samplers do; no network is known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pipelines.samplers import Path, Step
from pipelines.samplers.ddim import split

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling

# (x, sigma) -> the x0 that a step goes to, and the x0 whose noise it keeps; one and the same but under CFG++
Pair = Callable[["Tensor", "Tensor"], tuple["Tensor", "Tensor"]]

APART = 0.25  # of the largest difference between two estimates; from here on they disagree
ALIKE = 0.01  # of a latent's deviation; two prompts whose estimates differ less than this nowhere disagree
ROUNDS = 2  # estimates of a step up; each brings it nearer to the one that a step down undoes


def inverted(both: Pair, latents: Tensor, sigmas: Tensor, path: Path) -> Sampling:
    """Walks clean latents (B, C, h, w) up `sigmas`, which fall and end in 0; returns x at the first.

    Each step up is the step of `descended` that it undoes, found by repeating x' = a'/a (x - s eps_kept) + s' eps at
    x' itself. DDIM inversion: Song et al. 2021, Section 4.3 (arXiv:2010.02502); repeated: Pan et al. 2023, AIDI
    (arXiv:2309.04907); with two noises: CFG++, Chung et al. 2024, Algorithm 3 (arXiv:2406.08070).
    """
    x, to, away = latents, latents * 0, latents * 0  # the first guess is that the noise is as in the step before
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas.flip(0))):
        ratio = path.alpha(sigma_next) / path.alpha(sigma)
        for _ in range(ROUNDS):
            guess = ratio * (x - sigma * away) + sigma_next * to
            denoised, kept = both(guess, sigma_next)
            to, away = (noise_in(guess, each, sigma_next, path) for each in (denoised, kept))
        guess = ratio * (x - sigma * away) + sigma_next * to
        yield Step(i, latents)
        x = guess
    return x


def descended(both: Pair, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
    """DDIM's walk down, to one x0 with the noise of the other. CFG++, Chung et al. 2024, Algorithm 2."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised, kept = both(x, sigma)
        yield Step(i, denoised)
        x = path.alpha(sigma_next) * denoised + sigma_next * noise_in(x, kept, sigma, path)
    return x


def cycled(
    source: Denoise, target: Denoise, latents: Tensor, sigmas: Tensor, path: Path, eta: float, mask: Tensor
) -> Sampling:
    """Walks a random path that ends in `latents` under the source's prompt, and beside it, with the same noises, a path
    under the target's as far as the mask (1, 1, h, w) lets it; returns where that ends. The same prompt leads back to
    `latents`.

    What a source step leaves to its posterior sample, at the last step too, is added to the target's step as it is.
    CycleDiffusion, Wu & De la Torre 2023, Algorithm 1 (arXiv:2210.05559).
    """
    here = there = path.alpha(sigmas[0]) * latents + sigmas[0] * path.noise(latents)
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        down, up = split(sigma, sigma_next, eta, path)
        alpha = path.alpha(sigma_next)
        denoised = source(here, sigma)
        edited = denoised.lerp(target(there, sigma), mask)
        yield Step(i, edited)
        posterior = alpha * latents + down * noise_in(here, latents, sigma, path)  # a sample of q(x' | x, x0)
        if up > 0:
            posterior = posterior + up * path.noise(latents)
        held = posterior - alpha * denoised - down * noise_in(here, denoised, sigma, path)
        here, there = posterior, alpha * edited + down * noise_in(there, edited, sigma, path) + held
    return there


def disagreeing(pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Where two prompts disagree, (1, 1, h, w) of 0 and 1, by pairs of x0 (1, C, h, w), each of one noised source: the
    places where they differ as much as anywhere, and those beside them.

    Couairon et al. 2022, "DiffEdit", Section 3.2, Step 1, whose threshold is one half of estimates of noise
    (arXiv:2210.11427).
    """
    import torch
    from torch.nn.functional import max_pool2d

    apart = torch.cat([one - other for one, other in pairs]).abs().mean((0, 1))[None, None]
    largest = apart.max().clamp(min=ALIKE * pairs[0][0].std())
    return max_pool2d((apart >= APART * largest).to(pairs[0][0]), 3, 1, 1)


def noise_in(x: Tensor, denoised: Tensor, sigma: Tensor, path: Path) -> Tensor:
    """The noise that x consists of beside x0: eps = (x - alpha x0) / sigma."""
    return (x - path.alpha(sigma) * denoised) / sigma


def numbered(up: Callable[[], Sampling], down: Callable[[Tensor], Sampling]) -> Sampling:
    """A walk up, then one down from where it ended, their steps counted on."""
    count = 0
    climb = up()
    while True:
        try:
            step = next(climb)
        except StopIteration as end:
            x = end.value
            break
        count = step.index + 1
        yield step
    descent = down(x)
    while True:
        try:
            step = next(descent)
        except StopIteration as end:
            return end.value
        yield Step(count + step.index, step.denoised, step.points)
