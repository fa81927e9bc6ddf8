"""Makes the sprites: `python -m pipelines.training.sprites NotoColorEmoji.ttf` draws every row of things.csv once."""

import argparse
import csv
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pipelines.training.world import WORLD, sprite_path

STRIKE = 109  # the one size at which the font holds its bitmaps


def rasterise(font: Path) -> int:
    """Write one trimmed PNG for each row of things.csv and return how many; raises ValueError for a missing glyph."""
    face = ImageFont.truetype(str(font), STRIKE)
    with (WORLD / "things.csv").open(encoding="utf-8") as table:
        codepoints = [row["codepoint"] for row in csv.DictReader(table)]
    for codepoint in codepoints:
        glyph = Image.new("RGBA", (160, 160))
        ImageDraw.Draw(glyph).text((8, 8), chr(int(codepoint, 16)), font=face, embedded_color=True)
        box = glyph.getbbox()
        if box is None:
            raise ValueError(f"The font has no picture of U+{codepoint}.")
        path = sprite_path(codepoint)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Text drawn on a transparent picture comes out with its colours multiplied by alpha.
        straight = Image.frombytes("RGBa", glyph.size, glyph.tobytes()).convert("RGBA")
        straight.crop(box).save(path, optimize=True)
    return len(codepoints)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("font", type=Path)
    print(rasterise(parser.parse_args().font), "sprites in", WORLD / "sprites")
