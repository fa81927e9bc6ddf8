"""The maths between two pictures: noise on the arc between two noises, prompts blended, and pictures whose noise is
corrected. Pure functions; no network is known here.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond

CLIPPED = 2.0  # deviations; what inverted noise has beyond is no noise: Section 4.2
SIGNAL = 0.2  # of the pictures that is added halfway: mu + nu = 1.2, Section 4.3


def slerp(one: Tensor, other: Tensor, share: float) -> Tensor:
    """The point `share` of the way from one to the other along the arc between them: noise stays noise.

    Shoemake 1985, "Animating rotation with quaternion curves"; for noise Song et al. 2021, Appendix D.5
    (arXiv:2010.02502).
    """
    cosine = float((one * other).sum() / (one.norm() * other.norm()).clamp(min=1e-12))
    angle = math.acos(min(1.0, max(-1.0, cosine)))
    if angle < 1e-4:
        return one.lerp(other, share)
    return (math.sin((1 - share) * angle) * one + math.sin(share * angle) * other) / math.sin(angle)


def blended(one: Cond, other: Cond, share: float) -> Cond:
    """A prompt between two: their tokens, and what belongs to them, mixed."""
    length = max(each.tokens.shape[1] for each in (one, other))
    extras = {
        name: value.lerp(other.extras[name], share)
        if value.shape == other.extras.get(name, value[:0]).shape and value.is_floating_point()
        else value
        for name, value in one.extras.items()
    }
    tokens = one.lengthened(length).lerp(other.lengthened(length), share)
    return replace(one, tokens=tokens, fill=one.fill.lerp(other.fill, share), extras=extras, parts=())


def corrected(
    noises: tuple[Tensor, Tensor], pictures: tuple[Tensor, Tensor], share: float, alpha: Tensor, sigma: Tensor
) -> Tensor:
    """x at a level, between two pictures' x0 (1, C, h, w), from the noise that inversion found in each.

    NoiseDiffusion, Zheng et al. 2024, Equation 8 and Algorithm 1 (arXiv:2403.08840): noise beyond two deviations is
    clipped, weights lie on the circle, and halfway a fifth more of the pictures comes in. At the ends nothing is added
    or clipped away, so that they are what inversion led to.
    """
    bend = math.sin(math.pi * share)
    a, b = math.cos(share * math.pi / 2), math.sin(share * math.pi / 2)
    total = 1 + SIGNAL * bend
    mu, nu = (total * each / (a + b) for each in (a, b))
    kept = [each.lerp(each.clamp(-CLIPPED, CLIPPED), bend) for each in noises]
    return alpha * (mu * pictures[0] + nu * pictures[1]) + sigma * (a * kept[0] + b * kept[1])
