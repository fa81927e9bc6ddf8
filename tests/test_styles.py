"""Styles: words around a prompt, from our table and people's own, and the same picture as those words written out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.errors import UnknownName
from pipelines.events import Finished
from pipelines.memory import Memory
from pipelines.models import ModelSpec
from pipelines.prompts import Span, clauses
from pipelines.stock import Stock
from pipelines.styles import FILE, dressed, read, scan_styles, styles
from pipelines.tasks import parse, run

SMALL = {"task": "text_to_image", "model": "toy", "steps": 2, "width": 64, "height": 64, "seed": 1}


@pytest.fixture(autouse=True)
def ours() -> Iterator[None]:
    """What ships, before and after."""
    scan_styles(())
    yield
    scan_styles(())


def picture(memory: Memory, **values: object) -> bytes:
    (done,) = (each for each in run(parse({**SMALL, **values}), memory) if isinstance(each, Finished))
    return done.painted.picture.tobytes()


def test_what_ships_has_a_place_for_the_prompt_and_stands_alone() -> None:
    assert len(styles) >= 20
    assert all(style.prompt.count("{prompt}") == 1 for style in styles.values())
    assert dressed("a cat", "", ["Watercolour"])[0].startswith("watercolour of a cat, ")


def test_styles_go_one_around_the_other_and_negatives_add_up(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(
        'name,prompt,negative_prompt\nquiet,"calm {prompt}, dusk",noise\nplain,"flat, soft",\n'
    )
    scan_styles([tmp_path])
    assert dressed("a cat", "dog", ["quiet", "plain"]) == ("calm a cat, dusk, flat, soft", "dog, noise")
    assert dressed("", "", ["plain"]) == ("flat, soft", "") and dressed("a", "b", []) == ("a", "b")
    assert clauses(dressed("a cat AND a dog :0.5 NOT fog", "", ["quiet"])[0]) == [
        Span("calm a cat, dusk", 1.0), Span("calm a dog, dusk", 0.5), Span("fog", -1.0)
    ]  # fmt: skip
    with pytest.raises(UnknownName, match=r"no style called 'quite'.*'quiet'"):
        dressed("a cat", "", ["quite"])


def test_a_style_paints_what_its_words_paint(toy: ModelSpec, memory: Memory, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("name,prompt,negative_prompt\nred,a red {prompt},blue\n")
    scan_styles([tmp_path])
    styled = picture(memory, prompt="cat", styles=["red"])
    assert styled == picture(memory, prompt="a red cat", negative_prompt="blue") != picture(memory, prompt="cat")


def test_a_table_in_a_folder_of_models_is_found_and_gone_with_it(tmp_path: Path) -> None:
    stock = Stock(tmp_path / "models", [tmp_path / "webui"])
    (tmp_path / "webui").mkdir()
    (tmp_path / "webui" / FILE).write_text(
        "name,prompt,negative_prompt\nWatercolour,wet {prompt},\nmine,{prompt} of mine,\n"
    )
    stock.rescan()
    assert styles["mine"].prompt == "{prompt} of mine" and styles["Watercolour"].prompt == "wet {prompt}"
    (tmp_path / "webui" / FILE).unlink()
    stock.rescan()
    assert "mine" not in styles and styles["Watercolour"].prompt != "wet {prompt}"


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"a,b\n1,2\n", b'name,prompt\n"x', b"name,prompt\n,\nx," + b"y" * 3000]
)
def test_a_table_that_is_none_gives_no_styles(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert read(tmp_path / FILE) == {} and read(tmp_path / "missing.csv") == {}
