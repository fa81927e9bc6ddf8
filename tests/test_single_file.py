"""One file of a community layout paints as the diffusers folder of the same weights; settings are read off shapes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from pipelines.errors import BadCheckpoint
from pipelines.models import ModelSpec, load_folder, models
from pipelines.models.headers import recognised
from pipelines.models.sgm import sgm_name, sgm_names
from pipelines.models.shapes import unet_settings
from pipelines.models.single_file import read_file
from tests.accounting import host
from tests.test_text_to_image import pictures
from tests.tiny import community

BASES = ("sd1", "sd2", "sdxl", "refiner")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """base -> a folder in the diffusers layout, and the same weights in one file."""
    home = tmp_path_factory.mktemp("community")
    made = {}
    for base in BASES:
        pipe = community.checkpoint(home / base, base, "v_prediction" if base == "sd2" else "epsilon")
        notes = {"modelspec.prediction_type": "v"} if base == "sd2" else {}
        made[base] = home / base, community.one_file(pipe, home / f"{base}.safetensors", base, **notes)
    return made


def opened(path: Path, **facts: Any) -> ModelSpec:
    return read_file(path, path.stem, recognised(path), **facts)


def painted(spec: ModelSpec) -> bytes:
    models.add(spec.name, spec)
    try:
        return pictures(host(), model=spec.name, prompt="a red cat, (sea:1.2)", negative_prompt="dog", steps=2)[0]
    finally:
        models.remove(spec.name)


@pytest.mark.parametrize("base", BASES)
def test_one_file_paints_as_the_folder_of_the_same_weights(base: str, pairs: dict[str, tuple[Path, Path]]) -> None:
    folder, path = pairs[base]
    assert recognised(path).base == base
    mine, theirs = painted(opened(path)), painted(load_folder(folder, f"{base} folder"))
    assert max(abs(a - b) for a, b in zip(mine, theirs, strict=True)) <= 1  # where weights lie in memory rounds


@pytest.mark.parametrize("base", BASES)
def test_nothing_is_lost_or_changed_on_the_way(base: str, pairs: dict[str, tuple[Path, Path]]) -> None:
    folder, path = pairs[base]
    mine, theirs, memory = opened(path), load_folder(folder, "folder"), host()
    for one, other in zip(mine.parts(), theirs.parts(), strict=True):
        with memory.use(one) as a, memory.use(other) as b:
            weights = b.state_dict()
            assert a.state_dict().keys() == weights.keys()
            assert all(torch.equal(value, weights[name]) for name, value in a.state_dict().items())


def test_nine_channels_are_read_off_the_first_layer(tmp_path: Path) -> None:
    pipe = community.checkpoint(tmp_path / "nine", "sd1", inpaints=True)
    spec = opened(community.one_file(pipe, tmp_path / "nine.safetensors", "sd1"))
    assert spec.inpaints and painted(spec)


PUBLISHED: dict[str, dict[str, Any]] = {  # settings as published, but for names; their weights are never made
    "Stable Diffusion 1.5": {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768, "attention_head_dim": 8},
    "Stable Diffusion 2.1": {
        "block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20],
        "use_linear_projection": True,
    },
    "SDXL": {
        "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20], "use_linear_projection": True,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), "transformer_layers_per_block": [1, 2, 10],
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
    },
    "the refiner": {
        "block_out_channels": (384, 768, 1536, 1536), "cross_attention_dim": 1280, "attention_head_dim": [6, 12, 24, 24], "use_linear_projection": True,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"), "transformer_layers_per_block": 4,
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2560,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_settings_of_the_published_networks_are_read_off_their_shapes(name: str) -> None:
    with init_empty_weights():
        published = UNet2DConditionModel(**PUBLISHED[name])
    names = sgm_names(published)
    shapes = {str(sgm_name(key, names)): tuple(value.shape) for key, value in published.state_dict().items()}
    assert "None" not in shapes
    read = unet_settings(shapes, pooled=1280, refines="refiner" in name)
    with init_empty_weights():
        mine = UNet2DConditionModel(**read)
    theirs = {key: tuple(value.shape) for key, value in published.state_dict().items()}
    assert {key: tuple(value.shape) for key, value in mine.state_dict().items()} == theirs
    heads = [each.heads for key, each in mine.named_modules() if key.endswith("attn1")]
    assert heads == [each.heads for key, each in published.named_modules() if key.endswith("attn1")]
    for setting in ("addition_time_embed_dim", "projection_class_embeddings_input_dim", "norm_num_groups"):
        assert mine.config[setting] == published.config[setting]


def test_files_with_the_same_autoencoder_and_reader_share_them(tmp_path: Path) -> None:
    one, other = (community.checkpoint(tmp_path / name, "sd1", seed=seed) for name, seed in (("one", 1), ("other", 2)))
    other.text_encoder.load_state_dict(one.text_encoder.state_dict())
    a, b = (
        opened(community.one_file(pipe, tmp_path / f"{k}.safetensors", "sd1")) for k, pipe in enumerate((one, other))
    )
    assert (a.texts, a.vae) == (b.texts, b.vae) and a.net != b.net


@pytest.mark.parametrize("way", ["notes", "marker", "yaml", "spread", "none"])
def test_what_a_file_predicts_is_told_by_metadata_marker_yaml_or_spread(
    way: str, pairs: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    held = load_file(pairs["sd2" if way in ("spread", "none") else "sd1"][1])
    notes = {"modelspec.prediction_type": "v"} if way == "notes" else None
    if way == "marker":
        held["v_pred"] = torch.zeros(0)
    if way in ("spread", "none"):  # SD 2.x has twelve blocks on the way up; the toy is given the one that tells
        name = "model.diffusion_model.output_blocks.1.1.transformer_blocks.0.norm1.bias"
        held[name.replace(".1.1.", ".11.1.")] = torch.randn(128) * (0.2 if way == "spread" else 0.01)
    save_file(held, tmp_path / "x.safetensors", notes)
    if way == "yaml":
        (tmp_path / "x.yaml").write_text('model:\n  params:\n    parameterization: "v"\n')
    predictor = opened(tmp_path / "x.safetensors").predictor
    assert predictor.keywords["prediction"] == ("epsilon" if way == "none" else "v_prediction")


def test_a_file_without_some_weights_is_refused_when_it_is_lent_and_leaves_nothing(
    pairs: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    held = load_file(pairs["sd1"][1])
    del held["model.diffusion_model.middle_block.0.in_layers.2.bias"]
    save_file(held, tmp_path / "less.safetensors")
    spec, memory = opened(tmp_path / "less.safetensors"), host()
    with pytest.raises(BadCheckpoint, match=r"The painter in less\.safetensors is incomplete"), memory.use(spec.net):
        pass
    assert memory.residents() == []


@pytest.mark.parametrize("missing", ["first_stage_model.", "cond_stage_model.", "model.diffusion_model.middle_block."])
def test_a_file_without_a_network_is_refused_unread(
    missing: str, pairs: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    held = {name: value for name, value in load_file(pairs["sd1"][1]).items() if not name.startswith(missing)}
    save_file(held, tmp_path / "less.safetensors")
    with pytest.raises(BadCheckpoint, match=r"less\.safetensors"):
        opened(tmp_path / "less.safetensors")
