"""Things that take on the look of others: how near their colours come, and whether their shape stays."""

import statistics
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_gradient_magnitude

from pipelines.training.scenes import Scene, draw, masks
from tests.quality.repaint import Easel, Figures, words
from tests.quality.tracks import Scenes


def slopes(picture: Image.Image, where: np.ndarray) -> np.ndarray:
    """How steep the brightness is, at the pixels that a mask (H, W) names."""
    slope: np.ndarray = gaussian_gradient_magnitude(np.asarray(picture.convert("L"), float), 1.5)[where]
    return slope


def only_thing(scene: Scene) -> np.ndarray:
    """Where the thing of a scene is."""
    return np.asarray(masks(scene)[0]) > 127


def appearance(scenes: Scenes) -> Callable[[Easel, int], Figures]:
    """The row: each thing of a scene takes on the look of the next scene's."""

    def figures(easel: Easel, count: int) -> Figures:
        left, shape, changed = [], [], []
        given = [scene for scene, _ in scenes(count + 1)]
        for scene, other in pairwise(given):
            source, reference = draw(scene), draw(other)
            here, there = only_thing(scene), only_thing(other)
            request = easel.request(
                "appearance", source, np.where(here, 255, 0).astype(np.uint8), other=easel.shelf.put(reference),
                look=easel.shelf.put(Image.fromarray(np.where(there, 255, 0).astype(np.uint8))),
                prompt=words(scene, scene.items[0].thing), guidance={"name": "cfg", "knobs": {"scale": 1.0}},
            )  # fmt: skip
            before_it = easel.outside
            result = easel.paint(request)
            wanted = np.asarray(reference, float)[there].mean(0)
            before, after = (np.abs(np.asarray(each, float)[here].mean(0) - wanted).mean() for each in (source, result))
            left.append(float(after / max(before, 1.0)))
            shape.append(float(np.corrcoef(slopes(source, here), slopes(result, here))[0, 1]))
            changed.append(easel.outside - before_it)
        return {
            "of the distance of mean colours left, median": statistics.median(left),
            "edges alike before and after, median correlation": statistics.median(shape),
            "bytes changed outside": max(changed),
        }

    return figures
