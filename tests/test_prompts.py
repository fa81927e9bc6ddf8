"""Prompts as written and as encoded: weights, brackets, and any length."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipelines.models.clip_text import ClipText
from pipelines.prompts import Span, sentences, spans


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("a cat", [("a cat", 1)]),
        ("a (cat:1.3) here", [("a ", 1), ("cat", 1.3), (" here", 1)]),
        ("(a)", [("a", 1.1)]),
        ("((a))", [("a", 1.21)]),
        ("[a]", [("a", 1 / 1.1)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1), (" c", 0.5)]),
        (r"\(c\) \[d\] \\", [(r"(c) [d] " + "\\", 1)]),
        ("never (closed [at all", [("never (closed [at all", 1)]),
        ("closed) never] opened", [("closed) never] opened", 1)]),
        ("at 10:30 (x: 1.2 )", [("at 10:30 ", 1), ("x", 1.2)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("(a:99)", [("a", 4)]),
        ("(a:1.0) b", [("a b", 1)]),
        ("", []),
    ],
)
def test_weights_are_read_as_people_write_them(prompt: str, pieces: list[tuple[str, float]]) -> None:
    read = spans(prompt)
    assert [each.text for each in read] == [text for text, _ in pieces]
    assert [each.weight for each in read] == pytest.approx([weight for _, weight in pieces])


def test_a_prompt_of_brackets_alone_takes_no_time() -> None:
    assert spans("(" * 4000) == [Span("(" * 4000)]
    assert "".join(each.text for each in spans("([" * 1000 + "a" + "])" * 1000)) == "a"


def test_a_text_is_cut_behind_sentences_and_commas_only() -> None:
    assert sentences("One thing. Two, three; four\nfive") == ["One thing.", "Two,", "three;", "four", "five"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> ClipText:
    from tests.tiny.checkpoints import text_encoder, tokenizer

    torch.manual_seed(0)
    words = tokenizer()
    return ClipText(words, text_encoder(words)).eval()


def tokens(text: ClipText, prompt: str) -> Tensor:
    with torch.inference_mode():
        return text(prompt).tokens


def plain(text: ClipText, prompt: str) -> Tensor:
    ids = text.tokenizer(prompt, padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.inference_mode():
        return text.model(ids).last_hidden_state


@pytest.mark.parametrize("prompt", ["", "a cat", "a cat, a dog and an unheard word 熊", " ".join(["cat"] * 75)])
def test_a_prompt_that_fits_takes_the_plain_path_to_the_bit(text: ClipText, prompt: str) -> None:
    assert torch.equal(tokens(text, prompt), plain(text, prompt))


def test_weight_one_is_no_weight_to_the_bit(text: ClipText) -> None:
    assert torch.equal(tokens(text, "a (cat:1.0) here"), plain(text, "a cat here"))


def test_a_weight_moves_its_own_word_away_from_nothing_and_no_other(text: ClipText) -> None:
    base, empty = plain(text, "red cat"), plain(text, "")
    strong = tokens(text, "red (cat:1.5)")
    moved = (strong - base).abs().amax(-1)[0] > 1e-6
    assert moved.nonzero().flatten().tolist() == [2]
    torch.testing.assert_close(strong[0, 2], empty[0, 2] + 1.5 * (base - empty)[0, 2])
    torch.testing.assert_close(tokens(text, "red (cat:0)")[0, 2], empty[0, 2])


def test_a_long_prompt_is_longer_and_its_last_word_counts(text: ClipText) -> None:
    long = ", ".join(["a red cat on the sea"] * 40)
    one, other = (tokens(text, f"{long}, {last}") for last in ("dog", "house"))
    assert one.shape == other.shape and one.shape[1] % 77 == 0 and one.shape[1] > 200
    assert not torch.equal(one, other)


def test_segments_keep_their_start_and_the_rest_is_the_mean_pad_of_nothing(text: ClipText) -> None:
    first, second = " ".join(["cat"] * 70) + ".", " ".join(["dog"] * 20)
    whole = tokens(text, f"{first} {second}")
    assert torch.equal(whole[:, :72], plain(text, first)[:, :72])  # start, 70 words, the stop
    assert torch.equal(whole[:, 72:93], plain(text, second)[:, :21])
    pads = plain(text, "")[:, 2:].mean(1)
    torch.testing.assert_close(whole[0, 93:], pads.expand(whole.shape[1] - 93, -1))


def test_one_endless_word_is_cut_and_not_lost(text: ClipText) -> None:
    assert tokens(text, "x" * 500).shape[1] > 500
    assert text.count("x" * 500) == 500


def test_a_short_condition_is_filled_up_to_a_long_one(text: ClipText) -> None:
    with torch.inference_mode():
        cond = text("a cat")
    assert torch.equal(cond.lengthened(77), cond.tokens)
    assert torch.equal(cond.lengthened(100)[:, 77:], cond.fill.expand(1, 23, -1))


def test_the_encoder_of_a_folder_is_the_encoder_of_diffusers(toy_folder: Path) -> None:
    loaded = ClipText.load(toy_folder / "toy", torch.float32)
    assert torch.equal(tokens(loaded, "a cat"), plain(loaded, "a cat"))
