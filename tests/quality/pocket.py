"""How well the built-in model paints what it is asked for: a table over held-out prompts with fixed seeds.

    python -m tests.quality.pocket --prompts 400 --steps 25 --out runs/quality.json
    python -m tests.quality.pocket --with diffusers --steps 4 --sampler lcm --scale 1 \
        --lora assets/adapters/pocket-lcm.safetensors
    python -m tests.quality.pocket --values '{"model": "pocket-small"}'
    python -m tests.quality.pocket --effects
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

from tests.quality.brushes import Brush, Diffusers, Settings, Studio
from tests.quality.judge import Judge, Verdict
from tests.quality.prompts import Exercise, exercises

Marks = dict[str, bool]
QUESTIONS = ("thing present", "both of a pair", "kept-apart pair", "position right", "size right",
             "place or colour right", "count right")  # fmt: skip


def marks(task: Exercise, seen: Verdict) -> Marks:
    """Right or wrong, for each question that the exercise asks."""
    all_there = all(seen.showing(name) for name in task.things)
    given: Marks = {"place or colour right": seen.backdrop == task.backdrop}
    if len(task.things) == 1:
        given["thing present"] = all_there
    elif len(task.things) == 2:
        given["kept-apart pair" if task.kind == "kept_apart" else "both of a pair"] = all_there
    given["count right"] = len(seen.items) == task.count and all_there
    first = seen.showing(task.things[0])
    if task.position:
        given["position right"] = bool(first) and first[0].position == task.position
    if task.size:
        given["size right"] = bool(first) and first[0].size == task.size
    if task.order:
        second = seen.showing(task.things[1])
        ahead = bool(first and second) and (
            first[0].x < second[0].x if task.order == "left" else first[0].y < second[0].y
        )
        given["position right"] = ahead
    return given


def interval(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share. Wilson 1927."""
    z, share = 1.96, right / count
    middle, spread = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + z * z / (4 * count**2))
    return max(0.0, (middle - spread) / (1 + z * z / count)), min(1.0, (middle + spread) / (1 + z * z / count))


def table(given: list[Marks]) -> dict[str, dict[str, float]]:
    """Of each question: how many exercises asked it, the share that was right, and the interval's ends."""
    rows = {}
    for question in QUESTIONS:
        asked = [one[question] for one in given if question in one]
        if asked:
            low, high = interval(sum(asked), len(asked))
            rows[question] = {"prompts": len(asked), "right": sum(asked) / len(asked), "low": low, "high": high}
    return rows


def figures(brush: Brush, count: int, show: bool = True) -> dict[str, object]:
    """Paint and judge the first `count` exercises, seconds per picture being the median."""
    judge, given, seconds = Judge(), [], []
    for task in exercises(count):
        began = time.perf_counter()
        picture = brush(task.prompt, task.seed)
        seconds.append(time.perf_counter() - began)
        given.append(marks(task, judge.look([picture])[0]))
    rows = table(given)
    if show:
        for question, row in rows.items():
            print(f"| {question} | {row['prompts']} | {row['right']:.1%} | {row['low']:.1%} to {row['high']:.1%} |")
        print(f"{statistics.median(seconds):.2f} seconds a picture")
    return {"figures": rows, "seconds_per_picture": statistics.median(seconds)}


def effects(settings: Mapping[str, object], count: int = 40) -> dict[str, float]:
    """What a negative prompt and weights change: how often the second of two things is there, plain, when the
    negative prompt names it, and when it has half the weight or one and a half."""
    judge = Judge()
    pairs = [task for task in exercises(20 * count) if task.kind == "pair" and not task.order][:count]
    ways = {"plain": ("", 1.0), "negative": ("{}", 1.0), "weight 0.5": ("", 0.5), "weight 1.5": ("", 1.5)}
    plain, shares = Studio(Settings(**settings)), {}  # type: ignore[arg-type]
    for way, (negative, weight) in ways.items():
        there = 0
        for task in pairs:
            second = task.things[1]
            brush = Studio(Settings(**{**settings, "negative": negative.format(second)}))  # type: ignore[arg-type]
            brush.__dict__["memory"] = plain.memory
            prompt = task.prompt if weight == 1 else task.prompt.replace(second, f"({second}:{weight})")
            there += bool(judge.look([brush(prompt, task.seed)])[0].showing(second))
        shares[way] = there / len(pairs)
        print(f"| second thing, {way} | {len(pairs)} | {shares[way]:.1%} |")
    return shares


def main(words: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=400)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--sampler", default="euler_ancestral")
    parser.add_argument("--scale", type=float, default=3.0)
    parser.add_argument("--lora", type=Path, action="append", default=[], help="only --with diffusers")
    parser.add_argument("--with", dest="painter", choices=["studio", "diffusers"], default="studio")
    parser.add_argument("--values", type=json.loads, default={}, help="further fields of the studio's request, as JSON")
    parser.add_argument("--effects", action="store_true", help="negative prompt and weights, in place of the table")
    parser.add_argument("--out", type=Path, help="a JSON file")
    asked = parser.parse_args(words)
    settings = Settings(asked.steps, asked.sampler, asked.scale, "", tuple(asked.lora), asked.values)
    if asked.lora and asked.painter == "studio":
        parser.error("--lora needs --with diffusers")
    if asked.effects:
        found: dict[str, object] = dict(effects({"steps": asked.steps, "sampler": asked.sampler, "scale": asked.scale}))
    else:
        found = figures(Studio(settings) if asked.painter == "studio" else Diffusers(settings), asked.prompts)
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        line = {"steps": asked.steps, "sampler": asked.sampler, "scale": asked.scale, "painter": asked.painter}
        asked.out.write_text(
            json.dumps(
                line | {"adapters": [path.name for path in asked.lora], "values": asked.values} | found, indent=1
            )
        )


if __name__ == "__main__":
    main()
