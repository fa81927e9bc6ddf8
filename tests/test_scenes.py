"""The drawn world: enough in it, reproducible, inside the picture, and its sentences true."""

from itertools import combinations
from random import Random

import numpy as np
import pytest

from pipelines.training.captions import words
from pipelines.training.scenes import (
    Backdrop,
    Item,
    Scene,
    caption,
    colours,
    draw,
    draw_backdrop,
    kept_apart_pairs,
    masks,
    places,
    sample_scene,
    sprite,
    strangers,
    stream,
    things,
)

SHAPES = [(256, 256), (320, 192), (192, 320)]


def test_the_world_is_as_large_as_promised():
    assert len(things) >= 84 and len(strangers) >= 12 and len(colours) >= 8 and len(places) >= 8
    assert not set(things) & set(strangers)
    assert 0.07 < len(kept_apart_pairs) / (len(things) * (len(things) - 1) / 2) < 0.13


@pytest.mark.parametrize("name", [*things, *strangers])
def test_every_thing_has_artwork(name):
    alpha = np.asarray(sprite(name).getchannel("A"))
    assert max(alpha.shape) > 100 and (alpha > 250).mean() > 0.15


@pytest.mark.parametrize("name", [*colours, *places])
def test_a_backdrop_is_the_same_for_a_seed_and_another_for_another(name):
    one, same, other = (np.asarray(draw_backdrop(Backdrop(name, seed))) for seed in (1, 1, 2))
    assert (one == same).all() and (one != other).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_scenes_are_drawn_in_the_shape_asked_for_and_reproducibly(shape):
    scene = sample_scene(stream("train", 3), width=shape[0], height=shape[1])
    assert scene == sample_scene(stream("train", 3), width=shape[0], height=shape[1])
    picture = draw(scene, *shape)
    assert picture.size == shape and picture.mode == "RGB"
    assert scene != sample_scene(stream("held_out", 3), width=shape[0], height=shape[1])


@pytest.mark.parametrize("shape", SHAPES)
def test_things_stay_inside_and_apart(shape):
    for index in range(150):
        seen = masks(sample_scene(stream("train", index), width=shape[0], height=shape[1]), *shape)
        solid = [np.asarray(mask) > 128 for mask in seen]
        for mask in solid:
            assert mask.any() and not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
        for one, other in combinations(solid, 2):
            assert not (one & other).any()


def test_masks_show_where_taking_an_item_away_changes_the_picture():
    scene = sample_scene(stream("train", 11), kind="trio")
    whole = np.asarray(draw(scene)).astype(int)
    for index, mask in enumerate(masks(scene)):
        changed = np.abs(np.asarray(draw(scene.without(index))).astype(int) - whole).sum(2) > 30
        assert not (changed & (np.asarray(mask) == 0)).any() and changed.sum() > 200


def test_pairs_are_kept_apart_in_training_and_shown_when_asked_for():
    for index in range(2000):
        names = {item.thing for item in sample_scene(stream("train", index)).items}
        assert not any(pair <= names for pair in kept_apart_pairs)
        assert {
            item.thing for item in sample_scene(stream("kept_apart", index), "kept_apart").items
        } in kept_apart_pairs


def test_captions_name_what_is_there_and_no_more_than_is_true():
    for index in range(1500):
        rng = stream("train", index)
        scene = sample_scene(rng)
        said = caption(scene, rng).replace(",", "").replace(".", "")
        assert 1 <= len(said.split()) <= 30
        for item in scene.items:
            thing = things[item.thing]
            assert any(word in said.split() for word in (thing.name, thing.plural, *thing.synonyms))
        for colour in set(colours) - {scene.backdrop.name}:
            assert f"{colour} background" not in said


def test_left_and_right_are_told_as_they_are_drawn():
    scene = Scene((Item("cat", 0.27, 0.5), Item("dog", 0.73, 0.5)), Backdrop("red", 0))
    said = {caption(scene, Random(k)) for k in range(800)}
    assert any("on the left" in text and "on the right" in text for text in said)
    for text in said:
        before, found, _ = text.partition(" to the left of ")
        if found:
            assert any(word in before for word in ("cat", "kitty", "kitten")), text


def test_words_cover_the_grammar():
    known, made_up, spoken = set(words()), 0, 0
    for index in range(1500):
        rng = stream("held_out", index)
        text = "".join(c if c.isalpha() else " " for c in caption(sample_scene(rng), rng))
        spoken += len(text.split())
        made_up += sum(word not in known for word in text.split())
    assert 0 < made_up / spoken < 0.03
