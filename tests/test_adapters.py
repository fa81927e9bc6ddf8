"""LoRAs, coined words and other autoencoders through the task: every layout, exactly undone, never a silent no-op."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from pipelines.adapters import AdapterChoice, calmed, painting_with, plain
from pipelines.errors import BadCheckpoint, BadRequest, StudioError, UnknownName
from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder, models
from pipelines.models.adapters import adapter_of, adapters, embedding_of, embeddings, vae_of, vaes
from pipelines.models.headers import recognised
from pipelines.models.lora import Worn, patched
from pipelines.models.lora_layouts import load_lora
from pipelines.painting import conditions
from pipelines.tasks import parse, run
from tests.accounting import host, result_of
from tests.test_text_to_image import SMALL, events, pictures
from tests.tiny import adapters as tiny
from tests.tiny import community
from tests.tiny.checkpoints import flux, sd3, sdxl, stable_diffusion


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[StableDiffusionPipeline, Path]:
    """The toy checkpoint with peft's adapters on its networks, and those adapters in a file."""
    folder = tmp_path_factory.mktemp("lora")
    pipe = stable_diffusion(folder / "toy")
    tiny.trained(pipe)
    return pipe, tiny.saved(pipe, folder / "peft.safetensors")


@pytest.fixture
def shelf() -> Iterator[None]:
    """Registries that hold again what they held before the test."""
    before = [set(registry) for registry in (adapters, embeddings, vaes)]
    yield
    for registry, names in zip((adapters, embeddings, vaes), before, strict=True):
        for name in set(registry) - names:
            registry.remove(name)


def wear(path: Path, name: str) -> str:
    adapters.add(name, adapter_of(path, name, recognised(path)))
    return name


@torch.inference_mode()
@pytest.mark.parametrize("dora", [False, True])
def test_networks_answer_as_they_do_under_peft(dora: bool, tmp_path: Path) -> None:
    bare, theirs = stable_diffusion(tmp_path / "bare"), stable_diffusion(tmp_path / "theirs")
    tiny.trained(theirs, dora=dora)
    path = tiny.saved(theirs, tmp_path / "peft.safetensors")
    given = torch.randn(1, 4, 16, 16), torch.tensor(500), torch.randn(1, 7, 32)
    ids = torch.tensor([[1, 5, 9, 2]])
    for file in (path, tiny.kohya(path, tmp_path / "kohya.safetensors")):
        worn = [Worn("toy", load_lora(file, torch.float32), 1.0)]
        with patched(bare.unet, "net", worn, "Toy"), patched(bare.text_encoder, "text", worn, "Toy"):
            painted, read = bare.unet(*given).sample, bare.text_encoder(ids).last_hidden_state
        torch.testing.assert_close(painted, theirs.unet(*given).sample, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(read, theirs.text_encoder(ids).last_hidden_state, rtol=1e-5, atol=1e-5)
        assert float((painted - bare.unet(*given).sample).abs().max()) > 0.01


def test_one_lora_paints_the_same_picture_from_every_layout(
    toy: ModelSpec, made: tuple[StableDiffusionPipeline, Path], shelf: None, tmp_path: Path
) -> None:
    path = made[1]
    wear(path, "peft")
    wear(tiny.kohya(path, tmp_path / "kohya.safetensors"), "kohya")
    wear(tiny.kohya(path, tmp_path / "sgm.safetensors", stable_diffusion(tmp_path / "again").unet), "sgm")
    wear(tiny.old_diffusers(path, tmp_path / "old.safetensors"), "old")
    memory = host()
    one, *others = [pictures(memory, adapters=[name])[0] for name in ("peft", "kohya", "sgm")]
    assert others == [one, one]
    old = pictures(memory, adapters=["old"])[0]  # alpha was worked into its weights, which rounds
    assert max(abs(a - b) for a, b in zip(old, one, strict=True)) <= 1
    assert one != pictures(memory)[0]


def test_a_picture_without_adapters_is_the_same_before_and_after(
    toy: ModelSpec, made: tuple[StableDiffusionPipeline, Path], shelf: None
) -> None:
    wear(made[1], "style")
    memory = host()
    before = pictures(memory)
    with memory.use(toy.net) as net, memory.use(toy.texts[0]) as text:
        prints = tiny.footprint(net), tiny.footprint(text)
        changed = pictures(memory, adapters=["style"])
        assert (tiny.footprint(net), tiny.footprint(text)) == prints
    assert pictures(memory) == before != changed


@pytest.mark.parametrize("ending", ["stop", "exception"])
def test_a_walk_that_ends_early_leaves_nothing_on_the_network(
    ending: str, toy: ModelSpec, made: tuple[StableDiffusionPipeline, Path], shelf: None
) -> None:
    wear(made[1], "style")
    memory = host()
    with memory.use(toy.net) as net:
        print_before = tiny.footprint(net)
        running = run(parse({**SMALL, "adapters": ["style"]}), memory)
        while "Progress" not in type(next(running)).__name__:
            pass
        assert tiny.footprint(net) != print_before
        if ending == "stop":
            running.close()
        else:
            with pytest.raises(KeyboardInterrupt):
                running.throw(KeyboardInterrupt())
        assert tiny.footprint(net) == print_before
    assert [each.lent for each in memory.residents()] == [0] * len(memory.residents())


def test_the_knob_and_the_prompt_say_the_same_thing(
    toy: ModelSpec, made: tuple[StableDiffusionPipeline, Path], shelf: None
) -> None:
    wear(made[1], "my style")
    memory = host()
    by_knob = pictures(memory, adapters=[{"name": "my style", "weight": 0.5}])
    for prompt in (
        "a red cat <my style:0.5>",
        "<lora:my style:.5> a red cat",
        "a red <my style:0.3><my style:+.2> cat",
    ):
        assert pictures(memory, prompt=prompt) == by_knob
    assert pictures(memory, prompt="a red cat <lora:my style>") == pictures(memory, adapters=["my style"]) != by_knob
    assert pictures(memory, adapters=["my style:0"]) == pictures(memory)


def test_what_is_no_mention_stays_in_the_prompt() -> None:
    for prompt in ("a <cat>", "1 < 2 > 1", "<a:b:0.5>", "<x:strong>", "I <3 you"):
        assert plain(prompt) == prompt
    assert plain("a <x:1> cat<lora:y>") == "a  cat"


def test_several_adapters_stack_in_any_order(
    toy: ModelSpec, made: tuple[StableDiffusionPipeline, Path], shelf: None, tmp_path: Path
) -> None:
    other = stable_diffusion(tmp_path / "other")
    tiny.trained(other, seed=8, text=False)
    wear(made[1], "one")
    wear(tiny.saved(other, tmp_path / "two.safetensors", text=False), "two")
    memory = host()
    alone = [pictures(memory, adapters=[name])[0] for name in ("one", "two")]
    both = pictures(memory, adapters=["one", "two:-0.5"])[0]
    assert both not in alone
    turned = pictures(memory, adapters=["two:-0.5", "one"])[0]
    assert max(abs(a - b) for a, b in zip(both, turned, strict=True)) <= 1


def test_a_lora_on_the_text_encoder_is_not_recalled_for_others(
    toy: ModelSpec, made: tuple[StableDiffusionPipeline, Path], shelf: None, tmp_path: Path
) -> None:
    held = {key: value for key, value in load_file(made[1]).items() if key.startswith("text_encoder.")}
    save_file(held, tmp_path / "reader.safetensors")
    wear(tmp_path / "reader.safetensors", "reader")
    memory = host()
    plainly, strongly, weakly = (pictures(memory, adapters=each) for each in ([], ["reader"], ["reader:0.3"]))
    assert len({*map(tuple, (plainly, strongly, weakly))}) == 3
    assert pictures(memory) == plainly and pictures(memory, adapters=["reader"]) == strongly


def test_an_adapter_for_another_base_is_refused_by_name(toy: ModelSpec, shelf: None, tmp_path: Path) -> None:
    wear(tiny.for_another_base(tmp_path / "xl.safetensors"), "xl look")
    memory = host()
    with pytest.raises(BadCheckpoint, match=r"adapter xl look was made for SDXL, and Toy is a Stable Diffusion model"):
        pictures(memory, adapters=["xl look"])
    assert memory.residents() == []


@pytest.mark.parametrize("width", [48, 1024])
def test_an_adapter_of_other_shapes_is_refused_by_name(width: int, toy: ModelSpec, shelf: None, tmp_path: Path) -> None:
    wear(tiny.for_another_base(tmp_path / "odd.safetensors", width), "odd")
    with pytest.raises(BadCheckpoint, match="The adapter odd does not fit Toy"):
        pictures(host(), adapters=["odd"])


def test_an_adapter_that_matches_nothing_is_refused_by_name(toy: ModelSpec, shelf: None, tmp_path: Path) -> None:
    stem = "transformer.blocks.0.attn.to_q"
    save_file(
        {f"{stem}.lora_A.weight": torch.zeros(4, 64), f"{stem}.lora_B.weight": torch.zeros(64, 4)},
        tmp_path / "x.safetensors",
    )
    wear(tmp_path / "x.safetensors", "dit")
    with pytest.raises(BadCheckpoint, match="The adapter dit does not fit Toy"):
        pictures(host(), adapters=["dit"])


def test_an_unknown_adapter_is_answered_with_the_nearest(
    toy: ModelSpec, made: tuple[object, Path], shelf: None
) -> None:
    with pytest.raises(UnknownName, match="sketch"):
        pictures(host(), prompt="<sketch:1>")
    wear(made[1], "sketchy")
    with pytest.raises(UnknownName, match="Did you mean 'sketchy'"):
        pictures(host(), prompt="<sketch:1>")


def test_weights_have_limits(toy: ModelSpec, made: tuple[object, Path], shelf: None) -> None:
    wear(made[1], "style")
    with pytest.raises(BadRequest, match="Adapters"):
        parse({**SMALL, "adapters": ["style:5"]})
    with pytest.raises(BadRequest, match=r"weight of the adapter style is 4\.5"):
        pictures(host(), prompt="a cat <style:2.5>", adapters=["style:2"])


def test_a_request_with_adapters_comes_back_from_json() -> None:
    request = parse({**SMALL, "adapters": ["a:0.5", {"name": "b"}], "vae": "better"})
    assert request.adapters == (AdapterChoice(name="a", weight=0.5), AdapterChoice(name="b"))
    assert parse(request.model_dump(mode="json")) == request
    assert [str(each) for each in request.adapters] == ["a:0.5", "b"]


@pytest.mark.parametrize("rows", [1, 3])
def test_a_coined_word_changes_the_picture_and_not_the_encoder(
    rows: int, toy: ModelSpec, shelf: None, tmp_path: Path
) -> None:
    path = tiny.embedding(tmp_path / "zyx-look.safetensors", rows=rows)
    memory = host()
    without = pictures(memory, prompt="a zyx-look cat")
    embeddings.add("zyx-look", embedding_of(path, "zyx-look", recognised(path)))
    with memory.use(toy.texts[0]) as text:
        before = tiny.footprint(text)
        knowing = pictures(memory, prompt="a Zyx-Look cat")
        assert tiny.footprint(text) == before
    assert knowing != without
    assert pictures(memory, prompt="a azyx-look cat") != knowing
    embeddings.remove("zyx-look")
    assert pictures(memory, prompt="a zyx-look cat") == without


@torch.inference_mode()
def test_a_coined_word_reads_as_the_token_that_diffusers_adds(toy: ModelSpec, shelf: None, tmp_path: Path) -> None:
    path = tiny.embedding(tmp_path / "zyx.safetensors", rows=1, key="<zyx>")
    embeddings.add("zyx", embedding_of(path, "zyx", recognised(path)))
    pipe = stable_diffusion(tmp_path / "theirs")
    pipe.load_textual_inversion({"zyx": load_file(path)["<zyx>"][0]}, token="zyx")
    ids = pipe.tokenizer("a zyx cat", padding="max_length", return_tensors="pt").input_ids
    theirs = pipe.text_encoder(ids).last_hidden_state
    with host().use(toy.texts[0]) as text, text.taught({"zyx": load_file(path)["<zyx>"]}):
        mine = text("a zyx cat").tokens
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_coined_words_stand_for_their_own_vectors_in_any_order(toy: ModelSpec) -> None:
    one, other = torch.randn(2, 64), torch.randn(3, 64)
    with host().use(toy.texts[0]) as text:
        width = text.model.get_input_embeddings().weight.shape[1]
        one, other = one[:, :width], other[:, :width]
        with text.taught({"zyx": one, "quib": other}):
            both, apart = text("a zyx"), text("a quib")
        with text.taught({"quib": other, "zyx": one}):
            torch.testing.assert_close(text("a zyx").tokens, both.tokens)
        with text.taught({"quib": other}):
            torch.testing.assert_close(text("a quib").tokens, apart.tokens)
    assert int((both.extras["ids"] < 0).sum()) == 2 and int((apart.extras["ids"] < 0).sum()) == 3


def test_a_coined_word_for_another_base_is_refused_by_name(toy: ModelSpec, shelf: None, tmp_path: Path) -> None:
    path = tiny.embedding(tmp_path / "zyx.safetensors", width=768)
    embeddings.add("zyx", embedding_of(path, "zyx", recognised(path)))
    with pytest.raises(BadCheckpoint, match=r"embedding zyx was made for Stable Diffusion 1\.x; Toy cannot read it"):
        pictures(host(), prompt="a zyx cat")


def test_adapters_count_against_the_budget_and_are_let_go(
    toy: ModelSpec, made: tuple[StableDiffusionPipeline, Path], shelf: None
) -> None:
    wear(made[1], "style")
    memory = Memory(host().device)
    list(events(memory, adapters=["style"]))
    assert memory.holds(adapters["style"].part)
    used = memory.used()
    assert memory.free() == used and memory.used() == 0


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of a toy with an autoencoder as published ones are, and a file of another such autoencoder."""
    home = tmp_path_factory.mktemp("vae")
    community.checkpoint(home / "sd1", "sd1")
    other = community.autoencoder(scale=0.18215, seed=5)
    save_file(
        {f"first_stage_model.{name}": each.contiguous() for name, each in community.ldm_autoencoder(other).items()},
        home / "ldm.safetensors",
    )
    save_file(other.state_dict(), home / "diffusers.safetensors")
    return home / "sd1", home


@pytest.mark.parametrize("layout", ["ldm", "diffusers"])
def test_another_autoencoder_decodes_the_same_latents(layout: str, sd1: tuple[Path, Path], shelf: None) -> None:
    path = sd1[1] / f"{layout}.safetensors"
    assert recognised(path).what == "vae"
    vaes.add("crisp", vae_of(path, "crisp", recognised(path)))
    spec, memory = load_folder(sd1[0], "sd1"), host()
    models.add("sd1", spec)
    try:
        own, other = (pictures(memory, model="sd1", steps=1, vae=name) for name in ("", "crisp"))
        assert own != other and pictures(memory, model="sd1", steps=1) == own
        latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
        with torch.inference_mode(), memory.use(vaes["crisp"].part) as vae:
            mine = spec.decode(vae, latents)
            theirs = community.autoencoder(scale=0.18215, seed=5).decode(latents / 0.18215).sample
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    finally:
        models.remove("sd1")


def test_an_autoencoder_of_other_latents_is_refused_by_name(
    toy: ModelSpec, sd1: tuple[Path, Path], shelf: None
) -> None:
    path = sd1[1] / "ldm.safetensors"
    spec = vae_of(path, "deep", recognised(path))
    vaes.add("deep", replace(spec, channels=16))
    with pytest.raises(BadCheckpoint, match="deep has latents of 16 channels; Toy has 4"):
        pictures(host(), vae="deep")
    with pytest.raises(UnknownName, match=r"no autoencoder called 'dep'\. Did you mean 'deep'"):
        pictures(host(), vae="dep")


def test_half_a_lora_is_refused(toy: ModelSpec, shelf: None, tmp_path: Path) -> None:
    stem = "lora_unet_mid_block_attentions_0_proj_in"
    save_file({f"{stem}.lora_down.weight": torch.zeros(4, 64)}, tmp_path / "half.safetensors")
    wear(tmp_path / "half.safetensors", "half")
    with pytest.raises(StudioError, match="only half of its weights"):
        pictures(host(), adapters=["half"])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ModelSpec, Path]:
    """A toy SDXL with peft's adapters on all three of its networks, its spec, and the adapters in a file."""
    home = tmp_path_factory.mktemp("sdxl")
    pipe = sdxl(home / "toy-xl")
    spec = load_folder(home / "toy-xl", "toy-xl", title="Toy XL")
    tiny.trained(pipe)
    pipe.text_encoder_2.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["q_proj"], init_lora_weights=False))
    given = {"unet": pipe.unet, "text_encoder": pipe.text_encoder, "text_encoder_2": pipe.text_encoder_2}
    StableDiffusionXLPipeline.save_lora_weights(
        home, weight_name="style.safetensors",
        **{f"{word}_lora_layers": get_peft_model_state_dict(each) for word, each in given.items()},
        **{f"{word}_lora_adapter_metadata": each.peft_config["default"].to_dict() for word, each in given.items()},
    )  # fmt: skip
    return pipe, spec, home / "style.safetensors"


@torch.inference_mode()
def test_sdxl_wears_an_adapter_on_all_three_networks_as_in_diffusers(
    large: tuple[Any, ModelSpec, Path], shelf: None, tmp_path: Path
) -> None:
    pipe, spec, path = large
    wear(path, "style")
    assert adapters["style"].networks == {"net", "text", "text_2"}
    memory, request = host(), parse({**SMALL, "model": "toy-xl", "adapters": ["style"], "negative_prompt": "a dog"})
    cond, uncond = result_of(conditions(request, spec, memory))  # type: ignore[arg-type]
    theirs = pipe.encode_prompt("a red cat", negative_prompt="a dog")
    for mine, other in zip((cond.tokens, uncond.tokens), theirs[:2], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(cond.extras["pooled"], theirs[2], rtol=1e-4, atol=1e-4)
    bare = result_of(conditions(parse({**SMALL, "model": "toy-xl"}), spec, memory))[0]  # type: ignore[arg-type]
    assert float((bare.tokens - cond.tokens).abs().max()) > 0.01
    x, sizes = torch.randn(1, 4, 16, 16), torch.tensor([[64.0, 64, 0, 0, 64, 64]])
    added = {"text_embeds": theirs[2], "time_ids": sizes}
    with memory.use(spec.net) as net, painting_with(net, {"style": 1.0}, spec, memory):
        mine = net(x, torch.tensor(500), theirs[0], added_cond_kwargs=added).sample
    other = pipe.unet(x, torch.tensor(500), theirs[0], added_cond_kwargs=added).sample
    torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def test_sdxl_learns_a_word_in_both_of_its_encoders(
    large: tuple[Any, ModelSpec, Path], shelf: None, tmp_path: Path
) -> None:
    spec = large[1]
    widths = [part.width for part in spec.texts]
    held = {key: torch.randn(2, width) for key, width in zip(("clip_l", "clip_g"), widths, strict=True)}
    save_file(held, tmp_path / "zyx.safetensors")
    request = parse({**SMALL, "model": "toy-xl", "prompt": "a zyx cat"})
    memory = host()
    before = result_of(conditions(request, spec, memory))[0]  # type: ignore[arg-type]
    embeddings.add("zyx", embedding_of(tmp_path / "zyx.safetensors", "zyx", recognised(tmp_path / "zyx.safetensors")))
    after = result_of(conditions(request, spec, memory))[0]  # type: ignore[arg-type]
    moved = (after.tokens - before.tokens).abs().amax((0, 1))
    first, second = moved.split(widths)
    assert float(first.max()) > 0.01 and float(second.max()) > 0.01


@pytest.mark.parametrize("make", [sd3, flux])
def test_transformers_wear_adapters_of_diffusers_layout(make: Any, shelf: None, tmp_path: Path) -> None:
    pipe = make(tmp_path / "toy")
    spec = load_folder(tmp_path / "toy", "toy-dit", title="Toy")
    pipe.transformer.add_adapter(
        LoraConfig(r=4, lora_alpha=8, target_modules=["to_q", "to_k"], init_lora_weights=False)
    )
    type(pipe).save_lora_weights(
        tmp_path, weight_name="x.safetensors", transformer_lora_layers=get_peft_model_state_dict(pipe.transformer),
        transformer_lora_adapter_metadata=pipe.transformer.peft_config["default"].to_dict(),
    )  # fmt: skip
    worn = [Worn("x", load_lora(tmp_path / "x.safetensors", torch.float32), 1.0)]
    given = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    theirs = {name: each for name, each in pipe.transformer.named_modules() if name.endswith((".to_q", ".to_k"))}
    with host().use(spec.net) as net, torch.inference_mode(), patched(net, "net", worn, "Toy"):
        mine = {name: each for name, each in net.named_modules() if name.endswith((".to_q", ".to_k"))}
        assert mine.keys() == theirs.keys() and mine
        for name, layer in mine.items():
            x = given.repeat(1, layer.in_features)[:, : layer.in_features]
            torch.testing.assert_close(layer(x), theirs[name](x), rtol=1e-5, atol=1e-5)


def test_flux_in_kohyas_layout_becomes_what_diffusers_makes_of_it(tmp_path: Path) -> None:
    rows = {  # of FLUX's own width, at rank 1
        "double_blocks_0_img_attn_qkv": 9216, "double_blocks_0_txt_attn_qkv": 9216, "double_blocks_0_img_attn_proj": 3072,
        "double_blocks_0_txt_attn_proj": 3072, "double_blocks_0_img_mlp_0": 12288, "double_blocks_0_img_mlp_2": 3072,
        "double_blocks_0_txt_mlp_0": 12288, "double_blocks_0_txt_mlp_2": 3072, "double_blocks_0_img_mod_lin": 18432,
        "double_blocks_0_txt_mod_lin": 18432, "single_blocks_0_linear1": 21504, "single_blocks_0_linear2": 3072,
        "single_blocks_0_modulation_lin": 9216,
    }  # fmt: skip
    draw, held = torch.Generator().manual_seed(0), {}
    for name, count in rows.items():
        columns = {
            "double_blocks_0_img_mlp_2": 12288,
            "double_blocks_0_txt_mlp_2": 12288,
            "single_blocks_0_linear2": 15360,
        }
        held[f"lora_unet_{name}.lora_down.weight"] = torch.randn(1, columns.get(name, 3072), generator=draw)
        held[f"lora_unet_{name}.lora_up.weight"] = torch.randn(count, 1, generator=draw)
        held[f"lora_unet_{name}.alpha"] = torch.tensor(0.5)
    save_file(held, tmp_path / "kohya.safetensors")
    theirs = _convert_kohya_flux_lora_to_diffusers(dict(held))
    save_file({name: value.clone() for name, value in theirs.items()}, tmp_path / "diffusers.safetensors")
    assert recognised(tmp_path / "kohya.safetensors").base == "flux"
    mine, other = (
        load_lora(tmp_path / f"{each}.safetensors", torch.float32).of("net") for each in ("kohya", "diffusers")
    )
    assert mine.keys() == other.keys() and len(mine) == 20
    for name, layer in mine.items():
        torch.testing.assert_close(
            layer.scale * layer.up @ layer.down, other[name].scale * other[name].up @ other[name].down
        )


def test_a_taught_word_is_guided_no_more_than_its_model_says(toy: ModelSpec) -> None:
    gentle = replace(toy, taught_scale=2.0)
    strong = {"prompt": "a zorp", "guidance": {"name": "apg", "knobs": {"scale": 5.0, "eta": 0.1}}}
    assert calmed(strong, gentle)["guidance"] == {"name": "apg", "knobs": {"scale": 2.0, "eta": 0.1}}
    for values in ({"guidance": {"name": "cfg", "knobs": {"scale": 1.0}}}, {"guidance": {"name": "cfg"}}, {}):
        assert calmed(values, gentle) == values
    assert calmed(strong, toy) == strong
