"""How far two pictures of one size are apart: PSNR, SSIM, and one figure that was fitted to what people see."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

ALIKE = 99.0  # decibels that stand for identical pictures
WIDTH, REACH = 1.5, 5  # of SSIM's Gaussian window, in pixels: its standard deviation, and where it ends
FLOOR = 170.0  # the constant c of GMSD, for levels of 0..255


@dataclass(frozen=True)
class Distance:
    """PSNR in decibels and SSIM, higher is nearer, at most 99 and 1; GMSD, lower is nearer, 0 for identical ones."""

    psnr: float
    ssim: float
    gmsd: float


def distance(one: Image, other: Image) -> Distance | None:
    """How far two pictures are apart; None where their sizes differ."""
    import numpy as np

    if one.size != other.size:
        return None
    a, b = (np.asarray(each.convert("RGB"), np.float64) for each in (one, other))  # (H, W, 3), 0..255
    greys = (a @ LUMA, b @ LUMA)
    return Distance(psnr(a, b), ssim(*greys), gmsd(*greys))


LUMA = (0.299, 0.587, 0.114)


def psnr(a: Any, b: Any) -> float:
    """Decibels between two arrays of 0..255; 99 where they are the same."""
    error = float(((a - b) ** 2).mean())
    return min(ALIKE, 10 * math.log10(255**2 / error)) if error else ALIKE


def ssim(a: Any, b: Any) -> float:
    """The mean structural similarity of two arrays (H, W) of 0..255, less a rim of half a window.

    Wang et al. 2004, Equation 13, "Image Quality Assessment: From Error Visibility to Structural Similarity".
    """
    from scipy.ndimage import gaussian_filter

    def mean(x: Any) -> Any:
        return gaussian_filter(x, WIDTH, radius=REACH)

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b, cov = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2, mean(a * b) - mu_a * mu_b
    index = (2 * mu_a * mu_b + c1) * (2 * cov + c2) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))
    inner = index[REACH:-REACH, REACH:-REACH]
    return float((inner if inner.size else index).mean())


def gmsd(a: Any, b: Any) -> float:
    """How unevenly the edges of two arrays (H, W) of 0..255 agree: what people notice first.

    Xue et al. 2014, Equations 1 to 6, "Gradient Magnitude Similarity Deviation" (arXiv:1308.3052).
    """
    from scipy.ndimage import prewitt, uniform_filter

    def gradient(x: Any) -> Any:
        halved = uniform_filter(x, 2)[::2, ::2]  # the paper looks at half the size
        return ((prewitt(halved, 0) / 3) ** 2 + (prewitt(halved, 1) / 3) ** 2) ** 0.5

    m_a, m_b = gradient(a), gradient(b)
    similarity = (2 * m_a * m_b + FLOOR) / (m_a**2 + m_b**2 + FLOOR)
    return float(similarity.std())
