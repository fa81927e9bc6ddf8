"""How quick a large library is: seconds to the first page, to a search, to a filter, and for one more picture.

python -m tests.bench.library [--rows 20000] [--url postgresql://...]
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from pipelines.events import Painted
from pipelines.library import Library
from pipelines.library.album import Wanted
from pipelines.library.intake import row, take_in
from pipelines.library.lineage import family
from pipelines.library.rows import pictures
from pipelines.tasks.text_to_image import TextToImage
from pipelines.verify import alike
from studio.albums import page

WORDS = (
    "cat",
    "dog",
    "house",
    "sea",
    "snow",
    "red",
    "blue",
    "old",
    "tall",
    "castle",
    "meadow",
    "rocket",
    "panda",
    "lamp",
)


def filled(library: Library, rows: int) -> None:
    """Rows of pictures by the thousand; their files are links to one."""
    chance = random.Random(0)
    first = library.keep(Painted(Image.effect_noise((256, 256), 60).convert("RGB"), TextToImage(seed=0)))
    original = Path(first.file or "")
    folder = original.parent
    for start in range(0, rows, 1000):
        made = []
        for k in range(start, min(start + 1000, rows)):
            prompt = " ".join(chance.choices(WORDS, k=40))
            path = folder / f"{k:06d}.png"
            path.hardlink_to(original)
            request = TextToImage(prompt=prompt, seed=k).model_dump(mode="json")
            made.append(
                row(request, {"studio": "0"}, 256, 256)
                | {
                    "id": f"{k:032x}",
                    "owner": "",
                    "file": path.relative_to(library.pictures).as_posix(),
                    "digest": "0" * 64,
                }
                | {"bytes": 50_000, "made": float(k), "pixels": f"{k:032x}", "look": chance.getrandbits(63)}
                | {"favourite": k % 20 == 0, "binned": None}
            )
        with library.store.writing() as connection:
            connection.execute(pictures.insert(), made)


def seconds(work: Callable[[], Any], times: int = 7) -> float:
    """The median time of some goes."""
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return statistics.median(took)


def main() -> None:
    """Print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--url")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        library = Library(Path(folder), asked.url)
        filled(library, asked.rows)
        album, picture = library.album, Image.effect_noise((512, 512), 60).convert("RGB")
        measured: dict[str, Callable[[], Any]] = {
            "first page of the gallery": lambda: page(library, "", {}),
            "last page": lambda: page(library, "", {"start": asked.rows - 60}),
            "search, two words": lambda: page(library, "", {"words": "castle panda"}),
            "search without a match": lambda: page(library, "", {"words": "zebra"}),
            "favourites": lambda: page(library, "", {"favourite": True}),
            "film strip": lambda: album.latest("", ["text_to_image"], 40),
            "family of one": lambda: family(album, "", f"{asked.rows // 2:032x}"),
            "near-duplicates of one": lambda: alike(library, 12345),
            "favourite, one": lambda: album.favour("", [f"{1:032x}"]),
            "keep one of 512 pixels": lambda: library.keep(Painted(picture, TextToImage(seed=1))),
            "look for unlisted files": lambda: take_in(album, lambda job: ""),
        }
        print(f"{album.count('', Wanted())} pictures, {library.store._url.get_backend_name()}")
        for name, work in measured.items():
            print(f"{name}: {1000 * seconds(work):.1f} ms")
        library.close()
        begun = time.perf_counter()
        again = Library(Path(folder), asked.url)
        again.recall("", "text_to_image")
        print(f"open again: {1000 * (time.perf_counter() - begun):.1f} ms")
        again.close()


if __name__ == "__main__":
    main()
