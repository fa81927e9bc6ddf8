"""Is the judge to be trusted? Its share of right answers on true held-out scenes, and on shuffled ones.

python -m tests.quality.exam [--scenes 400]
"""

import argparse
from collections import Counter
from collections.abc import Sequence

from pipelines.training.scenes import Scene, draw
from tests.quality.judge import Judge, Verdict
from tests.quality.lessons import held_out_scenes

QUESTIONS = ("present", "position", "size", "count", "backdrop")
NEAR = 0.05  # of the picture's side
LIKE = 0.25  # of a thing's size; the sizes that a word tells apart lie a factor of one and a half apart


def answers(scene: Scene, verdict: Verdict) -> dict[str, bool]:
    """Whether each thing was seen; all seen where they are; all seen as large as they are; none missed, doubled or
    made up; the backdrop named."""
    names = Counter(item.thing for item in scene.items)
    found = [min(verdict.showing(item.thing), key=lambda seen, item=item: _gap(seen, item), default=None)
             for item in scene.items]  # fmt: skip
    return {
        "present": all(verdict.showing(name) for name in names),
        "position": all(seen and _gap(seen, item) < NEAR for seen, item in zip(found, scene.items, strict=True)),
        "size": all(seen and abs(seen.scale / item.scale - 1) < LIKE
                    for seen, item in zip(found, scene.items, strict=True)),
        "count": Counter(item.thing for item in verdict.items) == names,
        "backdrop": verdict.backdrop == scene.backdrop.name,
    }  # fmt: skip


def _gap(seen: object, item: object) -> float:
    return max(abs(seen.x - item.x), abs(seen.y - item.y))  # type: ignore[attr-defined]


def shares(scenes: Sequence[Scene], verdicts: Sequence[Verdict]) -> dict[str, float]:
    """The share of scenes answered right, by question."""
    given = [answers(scene, verdict) for scene, verdict in zip(scenes, verdicts, strict=True)]
    return {question: sum(one[question] for one in given) / len(given) for question in QUESTIONS}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=400)
    scenes = held_out_scenes(parser.parse_args().scenes)
    verdicts = Judge().look([draw(scene) for scene in scenes])
    turned = [*scenes[1:], scenes[0]]
    for name, truth in (("true labels", scenes), ("shuffled labels", turned)):
        print(name, " ".join(f"{key} {share:.1%}" for key, share in shares(truth, verdicts).items()))


if __name__ == "__main__":
    main()
