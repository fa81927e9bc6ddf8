"""The task itself, on a toy checkpoint of real classes: same pictures alone and in a batch, nothing encoded twice."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from pipelines.errors import BadCheckpoint, StudioError
from pipelines.events import Event, Finished, Progress
from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder, models
from pipelines.samplers import samplers
from pipelines.schedules import schedules
from pipelines.stock import Stock
from pipelines.tasks import parse, run
from tests.accounting import Accounting, Host, host, linear
from tests.tiny.checkpoints import stable_diffusion

SMALL = {
    "task": "text_to_image",
    "model": "toy",
    "steps": 3,
    "width": 64,
    "height": 64,
    "seed": 11,
    "prompt": "a red cat",
}


def events(memory: Memory, **values: object) -> list[Event]:
    return list(run(parse({**SMALL, **values}), memory))


def pictures(memory: Memory, **values: object) -> list[bytes]:
    return [
        each.painted.picture.tobytes()
        for each in events(memory, **values)
        if isinstance(each, Finished) and each.painted.picture
    ]


@pytest.mark.parametrize("name", list(samplers))
def test_picture_k_of_a_batch_is_the_picture_of_its_own_seed(toy: ModelSpec, name: str) -> None:
    memory = host()
    batch = pictures(memory, sampler=name, count=3)
    assert batch == [pictures(memory, sampler=name, seed=11 + k)[0] for k in range(3)]
    assert len(set(batch)) == 3


@pytest.mark.parametrize("name", list(schedules))
def test_every_schedule_falls_to_zero_in_as_many_steps_as_asked(toy: ModelSpec, name: str) -> None:
    for steps in (1, 2, 30):
        sigmas = schedules[name]()(toy, steps)
        assert len(sigmas) == steps + 1 and float(sigmas[-1]) == 0 and bool((sigmas.diff() < 0).all())
        assert float(sigmas[0]) <= toy.ends()[1] * 1.0001


def test_a_picture_is_that_of_its_size_and_differs_by_prompt_seed_and_negative_prompt(toy: ModelSpec) -> None:
    memory = host()
    (wide,) = (each for each in events(memory, width=96, height=64) if isinstance(each, Finished))
    assert wide.painted.picture is not None and wide.painted.picture.size == (96, 64)
    ways = [
        {},
        {"prompt": "a dog"},
        {"seed": 12},
        {"negative_prompt": "a house"},
        {"prompt": "a red (cat:1.5)"},
        {"sampler": "heun"},
    ]
    assert len({pictures(memory, **way)[0] for way in ways}) == len(ways)


def test_the_request_of_a_picture_paints_it_again(toy: ModelSpec) -> None:
    first = [each.painted for each in events(host(), count=2, sampler="dpmpp_sde") if isinstance(each, Finished)]
    again = [next(each.painted for each in run(one.request, host()) if isinstance(each, Finished)) for one in first]
    assert [one.picture.tobytes() for one in first if one.picture] == [
        one.picture.tobytes() for one in again if one.picture
    ]


def test_another_seed_encodes_nothing(toy: ModelSpec) -> None:
    memory = host()
    events(memory)
    with memory.use(toy.texts[0]) as text:
        text.model.forward = None  # would raise if it were called
    events(memory, seed=12)
    with pytest.raises(TypeError):
        events(memory, prompt="another")


def test_the_picture_does_not_depend_on_what_had_to_be_swapped(toy: ModelSpec) -> None:
    roomy, tight = host(), Memory(Accounting())
    tight.budget = max(tight.weight(part) for part in toy.parts()) + 2**18  # and room to work in
    assert pictures(roomy, count=2) == pictures(tight, count=2)
    assert len([each for each in tight.residents() if each.on_device]) == 1


def test_preview_and_progress_are_told_for_every_step(toy: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.painting.PREVIEW_SECONDS", 0)
    told = [each for each in events(host(), count=2) if isinstance(each, Progress)]
    assert [(each.picture, each.step) for each in told] == [(k, n) for k in (1, 2) for n in (1, 2, 3)]
    assert all(each.preview is not None and each.preview.size == (32, 32) for each in told)


def test_a_walk_left_early_returns_what_was_lent(toy: ModelSpec) -> None:
    memory = host()
    running = run(parse(SMALL), memory)
    while not isinstance(next(running), Progress):
        pass
    running.close()
    assert all(each.lent == 0 for each in memory.residents())


def test_token_two_hundred_changes_the_picture(toy: ModelSpec) -> None:
    memory, long = host(), ", ".join(["a red cat on the sea"] * 45)
    assert pictures(memory, prompt=long + ", a dog")[0] != pictures(memory, prompt=long + ", a house")[0]


def test_equal_parts_of_two_checkpoints_are_one(toy_folder: Path) -> None:
    pipe = stable_diffusion(toy_folder.parent / f"{toy_folder.name}-twin" / "twin")
    torch.manual_seed(9)
    pipe.unet.conv_in.weight.data.normal_()
    pipe.save_pretrained(toy_folder.parent / f"{toy_folder.name}-twin" / "twin")
    twin, toy = (
        load_folder(toy_folder.parent / f"{toy_folder.name}-twin" / "twin", "twin"),
        load_folder(toy_folder / "toy", "toy"),
    )
    assert (twin.texts[0].key, twin.vae.key) == (toy.texts[0].key, toy.vae.key) and twin.net.key != toy.net.key


def test_numbers_that_are_none_end_in_a_sentence(toy: ModelSpec) -> None:
    memory = host()
    with memory.use(toy.net) as net:
        net.conv_out.weight.data.fill_(float("nan"))
    with pytest.raises(StudioError, match="NaN"):
        events(memory)


def with_other_shape(file: Path) -> None:
    weights = load_file(file)
    weights["conv_in.weight"] = weights["conv_in.weight"][:-8].contiguous()
    save_file(weights, file)


def rewritten(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text().replace(old, new))


WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
DAMAGES = {
    "cut off": lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1000]),
    "empty": lambda folder: (folder / WEIGHTS).write_bytes(b""),
    "lying header": lambda folder: (folder / WEIGHTS).write_bytes((2**50).to_bytes(8, "little") + (folder / WEIGHTS).read_bytes()[8:]),
    "pickle in disguise": lambda folder: (folder / WEIGHTS).write_bytes(b"\x80\x04\x95" + (folder / WEIGHTS).read_bytes()),
    "only a pickle": lambda folder: (folder / WEIGHTS).rename((folder / WEIGHTS).with_suffix(".bin")),
    "another family": lambda folder: (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}'),
    "settings of another width": lambda folder: rewritten(folder / "unet/config.json", '"cross_attention_dim": 32', '"cross_attention_dim": 48'),
    "no settings": lambda folder: (folder / "vae/config.json").unlink(),
    "settings that are no JSON": lambda folder: (folder / "scheduler/scheduler_config.json").write_text("{"),
    "a tensor of another shape": lambda folder: with_other_shape(folder / WEIGHTS),
}  # fmt: skip


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_checkpoint_is_refused_in_a_sentence_and_leaves_nothing(
    how: str, tmp_path: Path, toy: ModelSpec
) -> None:
    stable_diffusion(tmp_path / "bad")
    DAMAGES[how](tmp_path / "bad")
    memory = host()
    with pytest.raises(BadCheckpoint) as refusal:
        models.add("bad", load_folder(tmp_path / "bad", "bad"))
        try:
            events(memory, model="bad")
        finally:
            models.remove("bad")
    assert "\n" not in str(refusal.value) and str(tmp_path) not in str(refusal.value)
    assert len(pictures(memory)) == 1  # the other checkpoint still paints


def test_a_scan_registers_what_is_sound_and_says_why_not_for_the_rest(tmp_path: Path) -> None:
    for name in ("sound", "broken"):
        stable_diffusion(tmp_path / name)
    DAMAGES["cut off"](tmp_path / "broken")
    try:
        stock = Stock(tmp_path)
        refused = [(each.name, each.reason) for each in stock.rescan()]
        assert "sound" in models and [name for name, _ in refused] == ["broken"] and "damaged" in refused[0][1]
        assert [(each.name, each.reason) for each in stock.rescan()] == refused
    finally:
        models.remove("sound")


def test_bfloat16_is_used_where_the_probe_finds_it_faster(toy: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (torch.float32, torch.bfloat16):
        monkeypatch.setattr("pipelines.device.fastest_on_host", lambda width, kind=kind: kind)
        memory = Memory(type("Probed", (Host,), {"number_type": lambda self, width, kind=kind: kind})())
        events(memory)
        with memory.use(toy.net) as net:
            assert next(net.parameters()).dtype == kind


def test_two_parts_in_use_at_once_stay_within_the_budget() -> None:
    memory = Memory(Accounting(), 3 * 2**20)
    with memory.use(linear("a", 1)), memory.use(linear("b", 2)):
        assert memory.used() == memory.budget


@pytest.mark.parametrize("method", [{"name": "latent_tiles", "knobs": {"creativity": 0.05}}, "lanczos"], ids=str)
def test_a_second_pass_makes_the_same_picture_larger(toy: ModelSpec, method: object) -> None:
    memory = host()
    (plain,), large = ([each.painted for each in events(memory, **more) if isinstance(each, Finished)]
                       for more in ({}, {"larger": 1.5, "larger_by": method, "count": 2}))  # fmt: skip
    assert [each.picture.size for each in large] == [(96, 96)] * 2
    coarse = [np.asarray(each.resize((8, 8), Image.Resampling.BOX), float) for each in (
        plain.picture, *(each.picture for each in large))]  # fmt: skip
    assert np.abs(coarse[1] - coarse[0]).mean() < np.abs(coarse[2] - coarse[0]).mean()
    again = [each.painted.picture for each in run(large[1].request, memory) if isinstance(each, Finished)]
    assert again[0].tobytes() == large[1].picture.tobytes()  # each is the same alone


@pytest.mark.parametrize(
    "values", [{"larger": 2, "larger_by": "released"}, {"larger": 4, "width": 2048, "height": 2048}]
)
def test_a_second_pass_that_cannot_be_is_refused_before_the_first(toy: ModelSpec, values: dict[str, object]) -> None:
    memory = host()
    with pytest.raises(StudioError, match=r"Larger|Model"):
        events(memory, **values)
    assert memory.estimates == 0


def test_a_second_pass_is_counted_in_what_is_expected(toy: ModelSpec) -> None:
    once, twice, plain = (
        parse({**SMALL, "larger": larger, "larger_by": method}).areas(None)
        for larger, method in ((1, "latent_tiles"), (2, "latent_tiles"), (2, "lanczos"))
    )
    assert once == plain == 1 and twice == pytest.approx(1 + 4 * 0.35)
