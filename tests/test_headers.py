"""What a weight file is, from its header alone; the strange, the lying and the dangerous are named and never loaded."""

import json
import struct
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.errors import BadCheckpoint
from pipelines.models.folders import look
from pipelines.models.headers import notes, recognised
from tests.tiny import adapters as tiny

ATTENTION = "down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"


def written(path: Path, shapes: dict[str, tuple[int, ...]], size: int | None = None, **extra: object) -> Path:
    """A safetensors file of zeros; `size` bytes of weights in place of those it names."""
    head, at = {}, 0
    for name, shape in shapes.items():
        count = 4
        for side in shape:
            count *= side
        head[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + count]}
        at += count
    raw = json.dumps({**head, **extra}).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + b"\0" * (at if size is None else size))
    return path


KINDS = {
    "a LoRA of SD 1.x by kohya": ({f"lora_unet_{ATTENTION}.lora_down.weight": (4, 768)}, "lora", "sd1"),
    "a LoRA of SD 2.x by peft": ({f"unet.{ATTENTION.replace('_', '.')}.lora_A.weight": (4, 1024)}, "lora", ""),
    "a LoRA of SD 2.x by diffusers": ({"unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": (4, 1024)}, "lora", "sd2"),
    "a LoRA of SDXL": ({f"lora_unet_{ATTENTION}.lora_down.weight": (4, 2048)}, "lora", "sdxl"),
    "an old LoRA": ({"unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight": (4, 768)}, "lora", "sd1"),
    "a LoRA of FLUX": ({"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (4, 3072)}, "lora", "flux"),
    "a LoRA of SD 3": ({"transformer.transformer_blocks.0.attn.add_k_proj.lora_A.weight": (4, 1536)}, "lora", "sd3"),
    "a LoRA of a second text encoder": ({"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 1280)}, "lora", "sdxl"),
    "a LoHa": ({f"lora_unet_{ATTENTION}.hada_w{k}": (4, 768) for k in ("1_a", "1_b", "2_a", "2_b")}, "lora", "sd1"),
    "a LoKr": ({f"lora_unet_{ATTENTION}.lokr_w1": (4, 4), f"lora_unet_{ATTENTION}.lokr_w2": (80, 192)}, "lora", ""),
    "an embedding of SD 1.x": ({"emb_params": (8, 768)}, "embedding", "sd1"),
    "an embedding of SDXL": ({"clip_l": (2, 768), "clip_g": (2, 1280)}, "embedding", "sdxl"),
    "one vector": ({"<cat-toy>": (1024,)}, "embedding", "sd2"),
    "an autoencoder": (dict.fromkeys(("encoder.conv_in.weight", "decoder.conv_in.weight", "decoder.conv_out.weight"), (4, 3, 3, 3)), "vae", ""),
    "FLUX in one file": ({"model.diffusion_model.double_blocks.0.img_attn.qkv.weight": (9, 3)}, "checkpoint", "flux"),
    "whole changes": ({f"lora_unet_{ATTENTION}.diff": (4, 4)}, "lora", ""),
    "single weights": ({"unet.x.sparse_values": (9,), "unet.x.sparse_places": (9,), "unet.x.sparse_shape": (2,)}, "lora", ""),
    "SDXL in one file": (dict.fromkeys(("model.diffusion_model.out.2.weight", "conditioner.embedders.1.model.ln_final.weight"), (3,)), "checkpoint", "sdxl"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_file_is_known_by_its_header(name: str, tmp_path: Path) -> None:
    shapes, what, base = KINDS[name]
    known = recognised(written(tmp_path / "x.safetensors", shapes))
    assert (known.what, known.base) == (what, base)


STRANGE = {
    "a ControlNet": {"control_model.input_blocks.0.0.weight": (4, 4, 3, 3)},
    "an IP-Adapter": {"image_proj.proj.weight": (4, 4), "ip_adapter.1.to_k_ip.weight": (4, 4), "x": (1, 1)},
    "a LyCORIS adapter": {f"lora_unet_{ATTENTION}.oft_blocks": (4, 4, 4), "b": (1, 1), "c": (1, 1)},
    "one network of a checkpoint": {f"down_blocks.0.resnets.{k}.conv1.weight": (4, 4, 3, 3) for k in range(3)},
    "the painter of FLUX alone": {f"double_blocks.0.{k}.weight": (4, 4) for k in "abc"},
    "a text encoder alone": {f"text_model.encoder.layers.{k}.mlp.fc1.weight": (4, 4) for k in range(3)},
    "an enlarger": {f"body.{k}.rdb1.conv1.weight": (4, 4, 3, 3) for k in range(3)},
    "neither checkpoint, LoRA, embedding, VAE nor enlarger": {f"layer{k}": (4, 4, 4) for k in range(3)},
}


@pytest.mark.parametrize("sentence", STRANGE)
def test_what_is_of_no_use_is_named(sentence: str, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=rf"x\.safetensors is {sentence}"):
        recognised(written(tmp_path / "x.safetensors", STRANGE[sentence]))


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.bin", "model.pth", "MODEL.CKPT"])
def test_a_pickle_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(BadCheckpoint, match=r"is a pickle, which can run code .* Fetch the safetensors variant"):
        recognised(tmp_path / name)


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02}q\x00", b"\x80\x05\x95"])
def test_a_pickle_that_is_called_safetensors_is_refused_unopened(start: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(start + b"\0" * 100)
    with pytest.raises(BadCheckpoint, match="is a pickle"):
        recognised(tmp_path / "x.safetensors")
    assert "pickle" not in vars(sys.modules["pipelines.models.headers"])


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (lambda home: written(home / "x.safetensors", {"emb_params": (8, 768)}, size=100), "damaged"),
        (lambda home: written(home / "x.safetensors", {"emb_params": (8, 768)}, size=10**6), "damaged"),
        (
            lambda home: written(home / "x.safetensors", {"emb_params": (-8, 768)}, size=0),
            "damaged|not a safetensors|neither",
        ),
        (lambda home: home / "missing.safetensors", "could not be read"),
    ],
)
def test_a_file_that_was_cut_or_lies_is_refused(path: object, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=sentence):
        recognised(path(tmp_path))  # type: ignore[operator]


def test_metadata_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "x.safetensors", {"emb_params": (1, 768)}, __metadata__={"a": "b", "c": 5, "d": ["e"]})
    assert notes(path) == {"a": "b"} and recognised(path).what == "embedding"
    other = written(tmp_path / "y.safetensors", {"emb_params": (1, 768)}, __metadata__=[1, 2])
    assert notes(other) == {} and recognised(other).what == "embedding"


@pytest.mark.parametrize(
    "said", ["[[[", '{"unet.lora_alpha": "many"}', '{"unet.alpha_pattern": 5}', "null", '{"unet.lora_alpha": 0}']
)
def test_strange_metadata_of_a_lora_ends_in_a_sentence_or_is_ignored(said: str, tmp_path: Path) -> None:
    stem = "unet.mid_block.attentions.0.proj_in"
    held = {f"{stem}.lora_A.weight": torch.ones(4, 64), f"{stem}.lora_B.weight": torch.ones(64, 4)}
    save_file(held, tmp_path / "x.safetensors", {"lora_adapter_metadata": said})
    found = look(tmp_path / "x.safetensors")
    assert found.kind == "adapter"
    try:
        found.spec.part.load(torch.float32)  # type: ignore[union-attr]
    except BadCheckpoint as error:
        assert "x.safetensors" in str(error)


def test_a_layout_nobody_knows_is_refused_when_it_is_seen(tmp_path: Path) -> None:
    held = {f"lora_unet_{ATTENTION}.lora_down.weight": (4, 768), f"lora_unet_{ATTENTION}.lora_mid.weight": (4, 4)}
    found = look(written(tmp_path / "x.safetensors", held))
    assert found.spec is None and "cannot apply" in found.reason


def test_an_embedding_keeps_its_vectors(tmp_path: Path) -> None:
    found = look(tiny.embedding(tmp_path / "x.safetensors", 768, 3))
    assert found.kind == "embedding" and {
        width: tuple(table.shape)
        for width, table in found.spec.vectors().items()  # type: ignore[union-attr]
    } == {768: (3, 768)}


def test_a_header_whose_length_begins_as_pickles_do_is_no_pickle(tmp_path: Path) -> None:
    path = written(tmp_path / "x.safetensors", {f"lora_unet_{ATTENTION}.lora_down.weight": (4, 768)})
    body = path.read_bytes()
    end = 8 + int.from_bytes(body[:8], "little")
    path.write_bytes((0x280).to_bytes(8, "little") + body[8:end].ljust(0x280) + body[end:])
    assert path.read_bytes().startswith(b"\x80\x02") and recognised(path).what == "lora"
