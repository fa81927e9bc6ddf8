"""The command line of scripts whose figures are rows of a table: which of them to make, on how much, and where to."""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

Figures = dict[str, Any]
Stand = TypeVar("Stand")  # what the rows are made on


def rows(
    words: str | None,
    figures: Mapping[str, Callable[[Stand, int], Figures]],
    stand: Callable[[int, float], Stand],
    count: int,
    arguments: list[str] | None = None,
    last: Callable[[Stand], dict[str, Figures]] = lambda _: {},
) -> None:
    """Read the command line, make the rows that it names, then those that come `last`, and print each as it is there.

    `stand` is given the steps and the scale of guidance; `words` are the script's own docstring.
    """
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=count, help="scenes for each figure")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--scale", type=float, default=3.0)
    parser.add_argument("--only", default=",".join(figures), help="some of the figures, with commas between")
    parser.add_argument("--out", type=Path, help="a JSON file")
    asked = parser.parse_args(arguments)
    on, found = stand(asked.steps, asked.scale), {}
    for name in asked.only.split(","):
        found[name] = printed(name, figures[name](on, asked.count))
    for name, row in last(on).items():
        found[name] = printed(name, row)
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        settings = {"count": asked.count, "steps": asked.steps, "scale": asked.scale}
        asked.out.write_text(json.dumps(settings | {"figures": found}, indent=1))


def printed(name: str, row: Figures) -> Figures:
    """The row, printed as a line of a table."""
    print(f"| {name} | {json.dumps(row)} |", flush=True)
    return row
