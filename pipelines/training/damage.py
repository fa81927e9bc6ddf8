"""What happens to pictures before somebody wants them larger: blur, shrinking, noise and compression, in that order.

After Wang et al. 2021, "Real-ESRGAN" (arXiv:2107.10833), one round of it.
"""

import io
from random import Random

import numpy as np
from PIL import Image, ImageFilter

SHRINKS = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX, Image.Resampling.LANCZOS)
MOST_BLUR = 0.7  # standard deviation at strength 1, in pixels of the small picture
MOST_NOISE = 14.0  # levels at strength 1
WORST_QUALITY = 35  # of JPEG at strength 1


def shrunk(picture: Image.Image, times: int) -> Image.Image:
    """The clean case: antialiased bicubic."""
    return picture.resize((picture.width // times, picture.height // times), Image.Resampling.BICUBIC)


def damaged(picture: Image.Image, times: int, strength: float, rng: Random) -> Image.Image:
    """A picture (RGB) `times` smaller and as damaged as a strength of 0..1 says; at 0 it is only shrunk."""
    if strength <= 0:
        return shrunk(picture, times)
    blur = MOST_BLUR * times * strength * rng.random()
    seen = picture.filter(ImageFilter.GaussianBlur((blur, blur * rng.uniform(0.5, 1.0)))) if blur > 0.05 else picture
    seen = seen.resize((picture.width // times, picture.height // times), rng.choice(SHRINKS))
    seen = noisy(seen, MOST_NOISE * strength * rng.random(), rng)
    if rng.random() < 0.3:
        return seen
    return compressed(seen, round(rng.uniform(95 - (95 - WORST_QUALITY) * strength, 95)), rng.randrange(3))


def noisy(picture: Image.Image, deviation: float, rng: Random) -> Image.Image:
    """A picture with noise of so many levels, grey or coloured, evenly or more of it where it is bright."""
    numbers = np.random.default_rng(rng.randrange(2**63))
    levels = np.asarray(picture, np.float32)
    noise = numbers.standard_normal((*levels.shape[:2], rng.choice((1, 3))), np.float32) * deviation
    if rng.random() < 0.4:
        noise = noise * np.sqrt(levels.mean(-1, keepdims=True) / 128)
    return Image.fromarray((levels + noise).round().clip(0, 255).astype(np.uint8))


def compressed(picture: Image.Image, quality: int, subsampling: int = 2) -> Image.Image:
    """A picture as a JPEG file of that quality gives it back; `subsampling` of its colours, 0 none to 2 by two."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, subsampling=subsampling)
    return Image.open(file).convert("RGB")
