"""Pocket's presets side by side: how right, how fast, and how near to Balanced.

    python -m tests.quality.presets --prompts 400 --out runs/presets.json
    python -m tests.quality.presets --only "1 step" Instant --prompts 40

Every exercise is painted by all presets, one after the other, so that seconds can be compared; they are medians, of the
process and by the clock. Distances are medians of GMSD to `Balanced`, where that is asked for, painted with the same seed.
"""

import argparse
import json
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL.Image import Image

from pipelines.distances import distance
from pipelines.memory import Memory
from pipelines.models import models
from pipelines.shelf import NoShelf
from pipelines.tasks import run
from pipelines.tasks.text_to_image import TextToImage
from studio.presets import fitted
from tests.accounting import result_of
from tests.quality.judge import Judge
from tests.quality.pocket import QUESTIONS, Marks, marks, table
from tests.quality.prompts import exercises

PLAIN = "Balanced"


@dataclass
class Row:
    """What came of one preset."""

    given: list[Marks] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    evaluations: int = 0
    apart: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Shares and medians."""
        right = {question: row["right"] for question, row in table(self.given).items()}
        medians = {"seconds": self.seconds, "processor seconds": self.processor, "GMSD": self.apart}
        return {**right, "evaluations": self.evaluations, **{k: statistics.median(v) for k, v in medians.items() if v}}


def painted(row: Row, quality: str, prompt: str, seed: int, memory: Memory) -> Image:
    """A picture of one preset; its time is noted."""
    request = fitted(TextToImage(prompt=prompt, seed=seed), models["pocket"], quality)
    before, wall, processor = memory.estimates, time.perf_counter(), time.process_time()
    picture: Image = result_of(run(request, memory, NoShelf())).pictures[0].picture
    row.seconds.append(time.perf_counter() - wall)
    row.processor.append(time.process_time() - processor)
    row.evaluations = memory.estimates - before
    return picture


def measured(names: list[str], count: int) -> dict[str, dict[str, Any]]:
    """The figures of these presets over the first exercises."""
    memory, judge, rows = Memory(), Judge(), {name: Row() for name in names}
    for task in exercises(count):
        made = {name: painted(row, name, task.prompt, task.seed, memory) for name, row in rows.items()}
        for (name, picture), seen in zip(made.items(), judge.look(list(made.values())), strict=True):
            rows[name].given.append(marks(task, seen))
            if PLAIN in made and (apart := distance(made[PLAIN], picture)):
                rows[name].apart.append(apart.gmsd)
    return {name: row.figures() for name, row in rows.items()}


def main(words: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [each.name for each in models["pocket"].presets]
    parser.add_argument("--prompts", type=int, default=400)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--out", type=Path, help="a JSON file")
    asked = parser.parse_args(words)
    found = measured(asked.only, asked.prompts)
    for name, row in found.items():
        shares = ", ".join(f"{question} {share:.1%}" for question, share in row.items() if question in QUESTIONS)
        rest = ", ".join(f"{what} {value:.3g}" for what, value in row.items() if what not in QUESTIONS)
        print(f"| {name} | {shares} | {rest} |")
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
