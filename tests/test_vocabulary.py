"""A model that knows few words says which it does not know, before painting and with the picture."""

from dataclasses import replace

import pytest

from pipelines.events import Remark
from pipelines.memory import Memory
from pipelines.models import POCKET as FOLDER
from pipelines.models import models
from pipelines.models.adapters import embeddings
from pipelines.models.pocket import whole_words
from pipelines.styles import styles
from pipelines.tasks import parse, run
from pipelines.training.captions import words
from pipelines.vocabulary import strange, warning

POCKET = models["pocket"]


def asked(prompt: str, **values):
    return parse({"task": "text_to_image", "model": "pocket", "prompt": prompt, "steps": 1, "seed": 1, **values})


def test_every_word_of_the_captions_is_known():
    assert set(words()) - whole_words(FOLDER / "tokenizer" / "tokenizer.json") <= {"a", "k"}
    assert strange(asked(" ".join(words())), POCKET) == []


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("", []),
        ("A (Red:1.2) cat, 4k!", []),
        ("a cinematic cat, CINEMATIC, bokeh", ["cinematic", "bokeh"]),
        ("a cat AND a gryphon :0.5", ["gryphon"]),
        ("ein Bär", ["ein", "bär"]),
        ("two cats 12345 _ - x", []),
    ],
)
def test_other_words_are_named_once(prompt, unknown):
    assert strange(asked(prompt), POCKET) == unknown


def test_both_prompts_and_styles_are_read():
    assert strange(asked("a cat", negative_prompt="blurry"), POCKET) == ["blurry"]
    assert strange(asked("a cat", styles=[next(iter(styles))]), POCKET)


def test_the_sentence_fits_its_number_of_words():
    assert warning(asked("a cat"), POCKET) == ""
    assert warning(asked("a gryphon"), POCKET) == "Pocket never learned the word gryphon; it may spoil the picture."
    assert "gryphon and wyvern;" in warning(asked("a gryphon, a wyvern"), POCKET)
    assert "aa, bb, cc, dd and 2 more; they may spoil" in warning(asked("aa bb cc dd ee ff"), POCKET)


def test_coined_words_and_models_that_read_everything_are_left_alone(monkeypatch):
    monkeypatch.setattr(embeddings, "_entries", {**dict(embeddings.items()), "gryphon": None})
    assert strange(asked("a gryphon"), POCKET) == []
    assert strange(asked("a wyvern"), replace(POCKET, words=None)) == []


def test_it_is_said_with_the_picture():
    said = [event.text for event in run(asked("a gryphon", width=64, height=64), Memory()) if isinstance(event, Remark)]
    assert any("gryphon" in each for each in said)
