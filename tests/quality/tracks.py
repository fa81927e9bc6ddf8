"""Points that are found again: the tracker alone, on warps that are known, and drags of photographs, which have no truth."""

import statistics
import time
from collections.abc import Callable, Iterator
from random import Random

import numpy as np
from PIL import Image
from skimage import data

from pipelines.gestures import arrows_of
from pipelines.models import models
from pipelines.tracking import found, sighted
from pipelines.training.scenes import Scene, draw, masks
from tests.quality.repaint import Easel, Figures, share

SIDE = 256
POINTS = 10  # of each thing
# Points set by hand on photographs of scikit-image, each seen at 256 x 256 pixels.
PHOTOGRAPHS = {
    "astronaut": "208,220>176,214", "coffee": "124,54>124,84", "cat": "151,208>151,222; 99,89>99,80",
    "rocket": "128,131>172,131", "camera": "115,53>131,53", "coins": "29,222>60,222", "moon": "62,42>104,66",
    "clock": "137,133>180,133", "retina": "33,122>62,122", "stereo_motorcycle": "175,99>190,110",
    "immunohistochemistry": "155,200>180,215", "hubble_deep_field": "160,137>140,110",
}  # fmt: skip

Scenes = Callable[[int], Iterator[tuple[Scene, Random]]]


def warp(picture: Image.Image, rng: Random) -> tuple[Image.Image, Callable[[np.ndarray], np.ndarray], float]:
    """The picture turned, scaled and shifted a little; where its points (n, 2) went; and how many times as large it is."""
    turn, grow = np.deg2rad(rng.uniform(-20, 20)), rng.uniform(0.85, 1.15)
    shift, middle = np.array([rng.uniform(-20, 20), rng.uniform(-20, 20)]), np.array([SIDE / 2, SIDE / 2])
    matrix = grow * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    back = np.linalg.inv(matrix)
    offset = middle - back @ (middle + shift)
    edge = tuple(map(int, np.asarray(picture).reshape(-1, 3).mean(0)))
    warped = picture.transform(
        picture.size, Image.Transform.AFFINE, (*back[0], offset[0], *back[1], offset[1]),
        Image.Resampling.BICUBIC, fillcolor=edge,
    )  # fmt: skip
    return warped, lambda points: (points - middle) @ matrix.T + middle + shift, grow


def tracker(scenes: Scenes) -> Callable[[Easel, int], Figures]:
    """DIFT alone, PCK@0.1: points of a thing found again after a turn, a scaling and a shift of the picture."""

    def figures(easel: Easel, count: int) -> Figures:
        right, seconds = [], []
        for scene, rng in scenes(count):
            y, x = np.nonzero(np.asarray(masks(scene)[0]) > 127)
            longer = max(np.ptp(x), np.ptp(y)) + 1
            points = np.array([(x[k], y[k]) for k in rng.sample(range(len(x)), POINTS)], float)
            source = draw(scene)
            warped, moved, grow = warp(source, rng)
            begun = time.perf_counter()
            before, after = (sighted(each, models["pocket"], easel.memory) for each in (source, warped))
            places = found(before, after, [(float(a), float(b)) for a, b in points], source.size)
            seconds.append(time.perf_counter() - begun)
            truth = moved(points)
            seen = ((truth >= 0) & (truth < SIDE)).all(1)
            apart = np.linalg.norm(np.array(places) - truth, axis=1)
            right += (apart <= 0.1 * longer * grow)[seen].tolist()
        return {"PCK@0.1": share(right), "points": len(right), "seconds for two pictures": statistics.median(seconds)}

    return figures


def photographs(easel: Easel, count: int) -> Figures:
    """Photographs dragged by hand-set points: how far the tracker finds them from their targets, and how much changed."""
    apart, changed = [], []
    for name, arrows in list(PHOTOGRAPHS.items())[:count]:
        levels = getattr(data, name)()
        picture = Image.fromarray(levels[0] if isinstance(levels, tuple) else levels).convert("RGB")
        picture = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        request = easel.request(
            "drag", picture, arrows=arrows, seed=7, guidance={"name": "cfg", "knobs": {"scale": 1.0}}
        )
        result = easel.paint(request)
        before, after = (sighted(each, models["pocket"], easel.memory) for each in (picture, result))
        ends = [each for each in arrows_of(arrows) if each.length]
        places = found(before, after, [each.handle for each in ends], picture.size)
        apart += [float(np.hypot(a - t.x, b - t.y)) for (a, b), (_, t) in zip(places, ends, strict=True)]
        changed.append(float((np.asarray(result) != np.asarray(picture)).any(-1).mean()))
    return {
        "tracked points from their targets, median px": statistics.median(apart),
        "within 26 px": share([each <= 26 for each in apart]),
        "changed, median share of the picture": statistics.median(changed),
        "photographs": len(changed),
    }
