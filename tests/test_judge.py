"""The judge whose figures the model card prints can be trusted on true pictures, and is not fooled by others."""

from random import Random

import pytest
import torch
from PIL import Image

from pipelines.training.scenes import Item, Scene, draw, sample_backdrop
from tests.quality.exam import shares
from tests.quality.judge import Judge, Verdict
from tests.quality.lessons import held_out_scenes, paste_spoilt
from tests.quality.pocket import interval, marks
from tests.quality.prompts import Exercise, exercises
from tests.quality.train_judge import targets


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return held_out_scenes(100)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


@pytest.fixture(scope="module")
def verdicts(judge: Judge, scenes: list[Scene]) -> list[Verdict]:
    return judge.look([draw(scene) for scene in scenes])


@pytest.mark.parametrize("question", ["present", "position", "size", "count", "backdrop"])
def test_the_judge_is_right_about_true_scenes(question: str, scenes: list[Scene], verdicts: list[Verdict]) -> None:
    assert shares(scenes, verdicts)[question] >= 0.98


def test_the_judge_is_at_chance_when_labels_are_shuffled(scenes: list[Scene], verdicts: list[Verdict]) -> None:
    given = shares([*scenes[1:], scenes[0]], verdicts)
    assert given["present"] <= 0.05
    assert given["backdrop"] <= 0.15


def test_spoilt_things_do_not_count(judge: Judge, scenes: list[Scene]) -> None:
    rng, seen = Random(5), 0
    lone = [scene for scene in scenes if len(scene.items) == 1][:30]
    for scene in lone:
        picture = draw(Scene((), scene.backdrop))
        paste_spoilt(picture, scene.items[0], rng)
        seen += bool(judge.look([picture])[0].showing(scene.items[0].thing))
    assert seen <= 4


def test_an_empty_backdrop_shows_nothing(judge: Judge) -> None:
    rng = Random(6)
    empty = [draw(Scene((), sample_backdrop(rng))) for _ in range(20)]
    assert sum(len(verdict.items) for verdict in judge.look(empty)) <= 1


def test_larger_and_wider_pictures_are_judged_alike(judge: Judge, scenes: list[Scene]) -> None:
    pictures = [draw(scene) for scene in scenes[:20]]
    large = [picture.resize((512, 512), Image.Resampling.BICUBIC) for picture in pictures]
    assert shares(scenes[:20], judge.look(large))["present"] >= 0.9


def test_a_thing_is_exactly_one_in_its_own_cell() -> None:
    rows = torch.tensor([[[3.0, 0.51, 0.26, 0.4], [-1.0, -1.0, -1.0, -1.0]]])
    heat, values, weight = targets(rows, 32)
    assert (heat == 1).nonzero().tolist() == [[0, 3, 8, 16]]
    assert values[0, :2, 8, 16].tolist() == pytest.approx([0.32, 0.32], abs=1e-4)
    assert float(weight[0, 0, 8, 16]) == 1


def test_exercises_are_always_the_same_and_never_repeat() -> None:
    some = exercises(200)
    assert some == exercises(200)
    assert len({task.prompt for task in some}) > 195


def test_marks_ask_only_what_the_prompt_said() -> None:
    left, right = Item("cat", 0.2, 0.5), Item("dog", 0.8, 0.5)
    seen = Verdict((left, right), (0.9, 0.9), "sea")
    ordered = Exercise("pair", "", 0, ("dog", "cat"), "sea", 2, order="left")
    assert marks(ordered, seen) == {
        "place or colour right": True, "both of a pair": True, "count right": True, "position right": False,
    }  # fmt: skip
    alone = Exercise("single", "", 0, ("cat",), "sky", 1, position="left", size="big")
    assert marks(alone, seen) == {
        "place or colour right": False, "thing present": True, "count right": False, "position right": True,
        "size right": False,
    }  # fmt: skip


def test_the_interval_holds_the_share_and_stays_between_none_and_all() -> None:
    assert interval(0, 10)[0] == 0
    assert interval(10, 10)[1] == 1
    low, high = interval(50, 100)
    assert (round(low, 3), round(high, 3)) == (0.404, 0.596)  # Wilson's, as tables print it
