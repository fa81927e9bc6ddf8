"""LoHa and LoKr: networks answer as they do under peft, exactly undone, and what cannot be applied is named."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoHaConfig, LoKrConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor

from pipelines.errors import BadCheckpoint
from pipelines.models.adapters import adapter_of
from pipelines.models.headers import recognised
from pipelines.models.lora import Worn, patched
from pipelines.models.lora_layouts import load_lora
from pipelines.resident import Resident, Rung
from pipelines.shuttle import blocks_of
from tests.accounting import Accounting
from tests.tiny import adapters as tiny
from tests.tiny.checkpoints import unet

LAYERS = ["to_q", "to_k", "to_out.0", "conv1", "ff.net.0.proj", "conv_shortcut"]
GIVEN = torch.randn(1, 4, 8, 8), torch.tensor(3.0), torch.randn(1, 5, 32)
KINDS: dict[str, Any] = {
    "loha": LoHaConfig(r=4, alpha=6, target_modules=LAYERS, init_weights=False),
    "lokr": LoKrConfig(r=2, alpha=6, target_modules=LAYERS, init_weights=False),
    "lokr of four": LoKrConfig(r=2, alpha=6, target_modules=LAYERS, init_weights=False, decompose_both=True),
}


def same_unet() -> Any:
    torch.manual_seed(0)
    return unet().eval()


def saved(kind: str, path: Path) -> tuple[Any, Path]:
    """A toy painter under peft's adapter of a kind, and that adapter in a file as LyCORIS writes it."""
    torch.manual_seed(5)
    theirs = get_peft_model(same_unet(), KINDS[kind])
    held: dict[str, Tensor] = {}
    for key, value in get_peft_model_state_dict(theirs).items():
        name, _, role = key.removeprefix("base_model.model.").rpartition(".")
        stem = f"lora_unet_{name.replace('.', '_')}"
        held[f"{stem}.{role}"], held[f"{stem}.alpha"] = value.contiguous(), torch.tensor(6.0)
    save_file(held, path)
    return theirs, path


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_networks_answer_as_they_do_under_peft_and_are_as_before_afterwards(kind: str, tmp_path: Path) -> None:
    theirs, path = saved(kind, tmp_path / "x.safetensors")
    spec = adapter_of(path, "x", recognised(path))
    bare = same_unet()
    before, plain = tiny.footprint(bare), bare(*GIVEN).sample
    with patched(bare, "net", [Worn("x", spec.part.load(torch.float32), 1.0)], "Toy"):  # type: ignore[arg-type]
        ours = bare(*GIVEN).sample
    torch.testing.assert_close(ours, theirs(*GIVEN).sample, rtol=1e-4, atol=1e-4)
    assert float((ours - plain).abs().max()) > 0.01
    assert tiny.footprint(bare) == before and torch.equal(bare(*GIVEN).sample, plain)


def test_one_of_another_shape_or_with_half_its_weights_is_named(tmp_path: Path) -> None:
    stem = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    half = {f"{stem}.hada_w1_a": torch.zeros(64, 4), f"{stem}.hada_w1_b": torch.zeros(4, 32)}
    save_file(half, tmp_path / "half.safetensors")
    with pytest.raises(BadCheckpoint, match=r"half\.safetensors is damaged: its layer .* has only half of its weights"):
        load_lora(tmp_path / "half.safetensors", torch.float32)
    other = half | {f"{stem}.hada_w2_a": torch.zeros(64, 4), f"{stem}.hada_w2_b": torch.zeros(4, 32)}
    save_file({name: x.repeat(1 + name.endswith("a"), 1) for name, x in other.items()}, tmp_path / "o.safetensors")
    worn = [Worn("o", load_lora(tmp_path / "o.safetensors", torch.float32), 1.0)]
    with pytest.raises(BadCheckpoint, match="The adapter o does not fit Toy"), patched(unet(), "net", worn, "Toy"):
        pass


def test_a_core_between_the_factors_is_refused_by_its_name(tmp_path: Path) -> None:
    stem = "lora_unet_down_blocks_0_resnets_0_conv1"
    names = ("hada_t1", "hada_t2", "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    save_file({f"{stem}.{name}": torch.zeros(4, 4) for name in names}, tmp_path / "t.safetensors")
    known = recognised(tmp_path / "t.safetensors")
    with pytest.raises(BadCheckpoint, match="hada_t1', a kind of weight the studio cannot apply"):
        adapter_of(tmp_path / "t.safetensors", "t", known)


def test_an_adapter_lies_whole_on_the_device_for_its_layers_are_never_called(tmp_path: Path) -> None:
    _, path = saved("loha", tmp_path / "x.safetensors")
    resident = Resident(adapter_of(path, "x", recognised(path)).part, torch.bfloat16, Accounting(), lambda: None)
    assert blocks_of(resident.module) == [] and resident.rungs() == [Rung.WHOLE]
