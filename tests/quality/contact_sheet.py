"""The 36 fixed prompts on one page: `python -m tests.quality.contact_sheet --out assets/pocket/contact-sheet.png`."""

import argparse
from pathlib import Path

from PIL import Image

from pipelines.training.sheet import PROMPTS
from tests.quality.brushes import Diffusers, Settings, Studio

COLUMNS = 6


def main(words: list[str] | None = None) -> None:
    """Paint prompt k with seed k and write the page, a picture 192 pixels wide."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--sampler", default="euler_ancestral")
    parser.add_argument("--scale", type=float, default=3.0)
    parser.add_argument("--lora", type=Path, action="append", default=[])
    parser.add_argument("--edge", type=int, default=192)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args(words)
    settings = Settings(asked.steps, asked.sampler, asked.scale, "", tuple(asked.lora))
    brush = Diffusers(settings) if asked.lora else Studio(settings)
    rows = -(-len(PROMPTS) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * asked.edge, rows * asked.edge))
    for k, prompt in enumerate(PROMPTS):
        picture = brush(prompt, k).resize((asked.edge, asked.edge), Image.Resampling.LANCZOS)
        page.paste(picture, (k % COLUMNS * asked.edge, k // COLUMNS * asked.edge))
    page.save(asked.out)


if __name__ == "__main__":
    main()
