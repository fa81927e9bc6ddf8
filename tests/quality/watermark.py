"""Whether the invisible mark survives what happens to pictures, and is in none that was not marked.

python -m tests.quality.watermark [--pictures 50] [--side 512]
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from pipelines.training.sampling import sample_scene
from pipelines.training.scenes import draw, stream
from pipelines.watermark import THRESHOLD, is_marked, marked, score

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "retina", "immunohistochemistry")


def photographs(side: int) -> list[Image.Image]:
    """Squares of the photographs that come with scikit-image, as far as they are on this machine."""
    found = []
    for name in PHOTOGRAPHS:
        try:
            picture = Image.fromarray(getattr(data, name)()).convert("RGB")
        except Exception:  # it would have to be fetched
            continue
        short = min(picture.size)
        found += [
            picture.crop((x, y, x + short // 2, y + short // 2)).resize((side, side), Image.Resampling.LANCZOS)
            for x in (0, short // 2)
            for y in (0, short // 2)
        ]
        found.append(picture.crop((0, 0, short, short)).resize((side, side), Image.Resampling.LANCZOS))
    return found


def pictures(count: int, side: int) -> list[Image.Image]:
    """Photographs first, then scenes of the drawn world."""
    held = photographs(side)
    return [*held, *(drawn(k, side) for k in range(max(count - len(held), 0)))][:count]


def drawn(index: int, side: int) -> Image.Image:
    """A scene of the drawn world that nothing was trained on."""
    return draw(sample_scene(stream("test", index)), side, side)


def jpeg(quality: int) -> Callable[[Image.Image], Image.Image]:
    def coded(picture: Image.Image) -> Image.Image:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return coded


def resized(share: float) -> Callable[[Image.Image], Image.Image]:
    def small(picture: Image.Image) -> Image.Image:
        return picture.resize((round(picture.width * share), round(picture.height * share)), Image.Resampling.LANCZOS)

    return small


def webp(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=80)
    return Image.open(file)


TREATMENTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "PNG": lambda picture: picture,
    "JPEG q85": jpeg(85),
    "resized to 75 %": resized(0.75),
    "JPEG q70": jpeg(70),
    "WebP q80": webp,
    "resized to 50 %": resized(0.5),
    "75 % and JPEG q85": lambda picture: jpeg(85)(resized(0.75)(picture)),
}


def main() -> None:
    """Print how many marks survive, and what the mark costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--side", type=int, default=512)
    asked = parser.parse_args()
    plain = pictures(asked.pictures, asked.side)
    signed = [marked(each) for each in plain]
    print(f"{len(plain)} pictures of {asked.side} pixels; a mark is seen above {THRESHOLD} standard deviations")
    for name, treat in TREATMENTS.items():
        scores = [score(treat(each)) for each in signed]
        print(f"{name}: {sum(each > THRESHOLD for each in scores)} of {len(scores)} marked, least {min(scores):.1f}")
    scores = [score(treat(each)) for each in plain for treat in list(TREATMENTS.values())[:3]]
    print(
        f"unmarked: {sum(each > THRESHOLD for each in scores)} of {len(scores)} taken for marked, most {max(scores):.1f}"
    )
    arrays = [(np.asarray(a), np.asarray(b)) for a, b in zip(plain, signed, strict=True)]
    noise = [peak_signal_noise_ratio(a, b) for a, b in arrays]
    alike = [structural_similarity(a, b, channel_axis=-1) for a, b in arrays]
    print(
        f"the mark changes a picture by {np.median(noise):.1f} dB PSNR (least {min(noise):.1f}), SSIM {np.median(alike):.3f}"
    )
    assert all(is_marked(marked(each)) for each in signed[:3])


if __name__ == "__main__":
    main()
