"""Each way to personalize does what its paper says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipelines import pupil
from pipelines.adapters import painting_with
from pipelines.errors import BadRequest, UnknownName
from pipelines.events import Remark
from pipelines.localizing import transformers
from pipelines.memory import Memory
from pipelines.models import ModelSpec
from pipelines.models.adapters import adapter_of, adapters
from pipelines.models.headers import recognised
from pipelines.painting import encoded
from pipelines.shelf import FolderShelf
from pipelines.study import Study
from pipelines.tasks import parse, run
from pipelines.tasks.personalize import Personalize, presets_of
from pipelines.workshop import Run
from tests.test_personalize import asked, forget, learned, picture, taught
from tests.tiny import adapters as tiny


def test_a_residual_stands_beside_the_last_layer_of_every_transformer_and_nowhere_else(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    method = {"name": "residuals", "knobs": {"wide": False}}
    taught(asked(shelf, steps=1, method=method), memory, shelf)
    with memory.use(toy.net) as net:
        names = {name for name, each in net.named_modules() if any(each is own.proj_out for own in transformers(net))}
    assert {key.removeprefix("unet.").rpartition(".lora_")[0] for key in learned()} == names and names


def test_a_residual_acts_where_its_word_is_seen_and_not_at_all_where_it_is_not_said(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    method = {"name": "residuals", "knobs": {"localized": 0.5, "wide": False}}
    taught(asked(shelf, steps=2, rate=0.2, method=method), memory, shelf)
    assert picture(memory, "a cat", adapters=("zorp",)) == picture(memory, "a cat") != picture(memory, "a zorp")
    seen: list[torch.Tensor] = []
    x, sigma = torch.randn(1, 4, 32, 32), torch.tensor(5.0)
    with torch.inference_mode(), memory.use(toy.net) as net:
        hook = transformers(net)[0].proj_out.register_forward_hook(lambda *given: seen.append(given[2]))
        for weights in ({}, {"zorp": 1.0}):
            with painting_with(net, weights, toy, memory) as located:
                located(toy.predictor(net))(x, sigma, [encoded(toy, memory, "a zorp in a house")])
        hook.remove()
    changed = (seen[0] != seen[1]).any(1)  # (1, h, w)
    assert 0 < changed.float().mean() < 1


def test_an_unlocalized_residual_acts_everywhere(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    method = {"name": "residuals", "knobs": {"localized": 0}}
    taught(asked(shelf, steps=2, rate=0.2, method=method), memory, shelf)
    assert picture(memory, "a cat", adapters=("zorp",)) != picture(memory, "a cat")


def test_what_waits_for_its_word_changes_nothing_without_it(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    bare = picture(memory, "a cat")
    for word, method in (
        ("zorp", "dreambooth_lora"),
        ("blick", "textual_inversion"),
        ("quux", "residuals"),
        ("wug", "sara"),
    ):
        taught(asked(shelf, steps=2, rate=0.2, method=method, word=word), memory, shelf)
        assert picture(memory, "a cat", adapters=(word,)) == bare
        assert picture(memory, f"a {word}") != picture(memory, f"a <{word}:0>")


def test_a_way_whose_steps_are_short_takes_more_of_them() -> None:
    quick = {name: presets_of(name)[0].values["steps"] for name in ("dreambooth_lora", "residuals", "echo")}
    assert quick == {"dreambooth_lora": 800, "residuals": 800, "echo": 500}
    usual = Personalize()
    assert usual.steps == quick[usual.method.name]  # the form begins with Quick


def test_two_subjects_in_one_sentence_are_told_how_they_keep_apart(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    for word in ("zorp", "blick"):
        taught(asked(shelf, steps=1, method="residuals", word=word), memory, shelf)

    def said(prompt: str, guidance: str = "cfg") -> list[str]:
        request = {"task": "text_to_image", "model": "toy", "steps": 1, "width": 64, "height": 64, "seed": 1}
        running = run(parse({**request, "prompt": prompt, "guidance": guidance}), memory)
        return [event.text for event in running if isinstance(event, Remark)]

    assert any("'a zorp AND a blick'" in each for each in said("a zorp and a blick"))
    assert said("a zorp AND a blick")  # plain guidance reads AND as a word
    assert not said("a zorp AND a blick", "regions") and not said("a zorp and a cat")


def test_an_inversion_learns_vectors_and_leaves_every_other_word_alone(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    method = {"name": "textual_inversion", "knobs": {"vectors": 3, "pivot": 1.0}}
    bare = picture(memory, "a cat in a house")
    taught(asked(shelf, steps=3, rate=0.05, kind="cat", method=method), memory, shelf)
    (vectors,) = learned().values()
    assert vectors.shape == (3, 32)
    assert picture(memory, "a cat in a house", adapters=("zorp",)) == bare
    said = picture(memory, "a zorp in a house")
    assert said not in (bare, picture(memory, "a <zorp:0.3> in a house"))


def test_a_pivotal_inversion_first_learns_the_word_and_then_the_painter(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[dict[str, torch.Tensor]] = []
    learn = Study.learn

    def noted(study: Study, losses: object) -> str:
        states.append({name: each.detach().clone() for name, each in study.weights.items()})
        return learn(study, losses)  # type: ignore[arg-type]

    monkeypatch.setattr(Study, "learn", noted)
    taught(asked(shelf, steps=6, method={"name": "textual_inversion", "knobs": {"pivot": 0.5}}), memory, shelf)

    def moved(first: int, last: int) -> set[bool]:
        """Which kinds of weights changed between two steps: of words (True), of layers (False)."""
        return {
            name.startswith("word ") for name in states[0] if not torch.equal(states[first][name], states[last][name])
        }

    assert moved(0, 3) == {True} and moved(3, 5) == {False}


def test_the_kind_is_held_to_what_the_model_painted_of_it_before(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prior's loss is one more a step, of pictures that are painted once and kept."""
    counts: list[int] = []
    learn = Study.learn

    def counted(study: Study, losses: object) -> str:
        def each(chance: torch.Generator) -> Iterator[torch.Tensor]:
            found = list(losses(chance))  # type: ignore[operator]
            counts.append(len(found))
            return iter(found)

        return learn(study, each)

    monkeypatch.setattr(Study, "learn", counted)
    monkeypatch.setattr(pupil, "SMALL", 0)  # one loss for each picture, as of a large network
    for prior, kind in ((1.0, "cat"), (0.0, "cat"), (1.0, "")):
        method = {"name": "dreambooth_lora", "knobs": {"prior": prior, "rank": 2}}
        taught(asked(shelf, steps=1, kind=kind, batch=2, method=method, word=f"zorp{len(counts)}"), memory, shelf)
    assert counts == [3, 2, 2]


@pytest.mark.parametrize("method", ["dreambooth_lora", "textual_inversion", "echo", "sara"])
def test_one_pass_for_a_step_learns_what_one_for_each_picture_does(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    values = {"steps": 2, "kind": "cat", "batch": 3, "method": method}
    found = []
    for most in (pupil.SMALL, 0):
        monkeypatch.setattr(pupil, "SMALL", most)
        taught(asked(shelf, **values), memory, shelf)
        found.append([loss for _, loss in adapters["zorp"].ours["losses"]])
        forget()
    assert len(found[0]) == 2 and found[0] == pytest.approx(found[1], rel=1e-3)


def test_a_transfer_wears_the_few_step_adapter_while_the_few_step_painter_learns(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, tmp_path: Path
) -> None:
    method = {"name": "echo", "knobs": {"fast": "quick", "rank": 2}}
    with pytest.raises(UnknownName, match="no adapter called 'quick'"):
        taught(asked(shelf, steps=1, method=method), memory, shelf)
    pipe = tiny_pipe(tmp_path)
    adapters.add("quick", adapter_of(pipe, "quick", recognised(pipe)))
    taught(asked(shelf, steps=2, method=method), memory, shelf)
    with_it = learned()
    taught(asked(shelf, steps=2, method={"name": "echo", "knobs": {"rank": 2}}, word="blick"), memory, shelf)
    assert any(not torch.equal(with_it[name], each) for name, each in learned("blick").items())
    assert load_file(pipe).keys() != with_it.keys()


def tiny_pipe(folder: Path) -> Path:
    """A LoRA of random weights for the toy's painter."""
    from tests.tiny.checkpoints import stable_diffusion

    pipe = stable_diffusion(folder / "few")
    tiny.trained(pipe, text=False)
    return tiny.saved(pipe, folder / "quick.safetensors", text=False)


def test_a_model_without_words_of_its_own_says_so(memory: Memory, shelf: FolderShelf, tmp_path: Path) -> None:
    from pipelines.models import load_folder, models
    from tests.tiny.checkpoints import sana

    sana(tmp_path / "sana")
    models.add("sana", load_folder(tmp_path / "sana", "sana"))
    try:
        with pytest.raises(BadRequest, match="no encoder that learns words"):
            taught(asked(shelf, model="sana", method="textual_inversion"), memory, shelf)
    finally:
        models.remove("sana")


def study(seed: int = 1) -> Study:
    return Study({"w": torch.ones(3)}, seed, 100, 0.1)


def test_an_exploding_gradient_brings_the_last_sound_state_back() -> None:
    one = study()
    for _ in range(30):
        assert one.learn(lambda _: [(one.weights["w"] * 0.01).sum()]) == ""
    sound = one.weights["w"].detach().clone()
    for _ in range(10):
        one.learn(lambda _: [(one.weights["w"] * 0.01).sum()])
    said = one.learn(lambda _: [(one.weights["w"] * 1e4).sum()])
    assert "Step 41 led nowhere: the gradient exploded. Taken back to step 40, at half the rate." in said
    assert one.step == 40 and one.mistrials == 1 and not torch.equal(one.weights["w"], sound)
    assert one.at() == pytest.approx(study_rate(40) / 2)


def study_rate(step: int) -> float:
    other = study()
    other.step = step
    return other.at()


def test_a_state_that_was_kept_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def losses(one: Study, chance: torch.Generator) -> list[torch.Tensor]:
        return [(one.weights["w"] - torch.randn(3, generator=chance)).square().sum()]

    whole, first, second = study(), study(), study()
    for _ in range(9):
        whole.learn(lambda chance: losses(whole, chance))
    for _ in range(4):
        first.learn(lambda chance: losses(first, chance))
    first.save(Run(tmp_path))
    assert second.load(Run(tmp_path)) and second.step == 4
    for _ in range(5):
        second.learn(lambda chance: losses(second, chance))
    assert torch.equal(whole.weights["w"], second.weights["w"]) and whole.losses == second.losses
