"""The drawn world that the built-in model learns: things of the Noto Emoji artwork placed on painted backdrops.

A scene is a value; here it is drawn. Everything that others need of the world can be imported from here.
"""

from random import Random

import numpy as np
from PIL import Image, ImageChops

from pipelines.training.backdrops import Backdrop, Canvas, colours, shade
from pipelines.training.captions import caption
from pipelines.training.landscapes import Place, places
from pipelines.training.sampling import Kind, Split, sample_backdrop, sample_scene
from pipelines.training.world import Item, Scene, Size, Thing, kept_apart_pairs, sprite, strangers, things

__all__ = ["Backdrop", "Item", "Kind", "Place", "Scene", "Size", "Split", "Thing", "caption", "colours", "draw",
           "draw_backdrop", "kept_apart_pairs", "masks", "places", "sample_backdrop", "sample_scene", "sprite",
           "strangers", "stream", "things"]  # fmt: skip


def stream(split: Split, index: int) -> Random:
    """The random numbers of one scene of a split: the same on every machine, never those of another split."""
    return Random(f"{split} {index}")


def draw_backdrop(backdrop: Backdrop, width: int = 256, height: int = 256) -> Image.Image:
    """The backdrop alone, as an RGB picture; raises KeyError for a name that is neither colour nor place."""
    rng = np.random.default_rng(backdrop.seed)
    canvas = Canvas(width, height)
    if backdrop.name in colours:
        base = shade(colours[backdrop.name], rng, 8)
        r, g, b = (max(0, c - 12) for c in base)
        canvas.wash(base, (r, g, b))
    else:
        places[backdrop.name].paint(canvas, rng)
    return canvas.finish()


def draw(scene: Scene, width: int = 256, height: int = 256) -> Image.Image:
    """The scene as an RGB picture of the size given."""
    picture = draw_backdrop(scene.backdrop, width, height)
    for item in scene.items:
        art, corner = _placed(item, width, height)
        picture.paste(art, corner, art)
    return picture


def masks(scene: Scene, width: int = 256, height: int = 256) -> list[Image.Image]:
    """For each item what can be seen of it: an L picture, 255 = only this item, antialiased at its edge."""
    seen: list[Image.Image] = []
    for item in scene.items:
        art, corner = _placed(item, width, height)
        alpha = Image.new("L", (width, height))
        alpha.paste(art.getchannel("A"), corner)
        seen = [ImageChops.multiply(below, ImageChops.invert(alpha)) for below in seen] + [alpha]
    return seen


def _placed(item: Item, width: int, height: int) -> tuple[Image.Image, tuple[int, int]]:
    art = sprite(item.thing)
    ratio = item.scale * min(width, height) / max(art.size)
    art = art.resize((max(1, round(art.width * ratio)), max(1, round(art.height * ratio))), Image.Resampling.LANCZOS)
    if item.mirrored:
        art = art.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if item.angle:
        art = art.rotate(item.angle, Image.Resampling.BICUBIC, expand=True)
    return art, (round(item.x * width - art.width / 2), round(item.y * height - art.height / 2))
