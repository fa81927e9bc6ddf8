"""LoRAs, textual inversions and autoencoders of random weights for the toy checkpoints, in every layout people have."""

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipelines.models.sgm import sgm_name, sgm_names

RANK, ALPHA = 4, 6
PAINTER = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "proj_in", "ff.net.0.proj", "time_emb_proj", "conv_shortcut"]
READER = ["q_proj", "k_proj", "fc1"]


def trained(pipe: StableDiffusionPipeline, seed: int = 3, text: bool = True, dora: bool = False) -> None:
    """Put random peft adapters on a toy pipeline's own networks; DoRA's magnitudes are moved from where they start."""
    torch.manual_seed(seed)
    for network, layers in ((pipe.unet, PAINTER), *([(pipe.text_encoder, READER)] if text else [])):
        network.add_adapter(
            LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=layers, use_dora=dora, init_lora_weights=False)
        )
        for name, weight in network.named_parameters():
            if "magnitude" in name:
                weight.data *= 1.2


def saved(pipe: StableDiffusionPipeline, path: Path, text: bool = True) -> Path:
    """The adapters of `trained` as diffusers saves them: peft's keys, alpha in the metadata."""
    given: dict[str, Any] = {}
    for network, word in ((pipe.unet, "unet"), *([(pipe.text_encoder, "text_encoder")] if text else [])):
        given[f"{word}_lora_layers"] = get_peft_model_state_dict(network)
        given[f"{word}_lora_adapter_metadata"] = network.peft_config["default"].to_dict()
    StableDiffusionPipeline.save_lora_weights(path.parent, weight_name=path.name, **given)
    return path


def layers_of(path: Path) -> dict[tuple[str, str], dict[str, Tensor]]:
    """The layers in a file of `saved`: (network, dotted name) -> its tensors by role."""
    ends = {"lora_A.weight": "down", "lora_B.weight": "up", "lora_magnitude_vector": "magnitude"}
    layers: dict[tuple[str, str], dict[str, Tensor]] = {}
    for key, value in load_file(path).items():
        end = next(each for each in ends if key.endswith(each))
        network, _, name = key.removesuffix(f".{end}").partition(".")
        layers.setdefault((network, name), {})[ends[end]] = value
    return layers


def kohya(source: Path, path: Path, unet: UNet2DConditionModel | None = None, **notes: str) -> Path:
    """The same LoRA in kohya's layout; with `unet`, its layers under the names they have in sgm, as for SDXL."""
    held: dict[str, Tensor] = {}
    for (network, name), tensors in layers_of(source).items():
        plain = name if unet is None else sgm_name(name, sgm_names(unet)) or name
        start = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}[network]
        stem = start + plain.replace(".", "_")
        held |= {f"{stem}.lora_down.weight": tensors["down"], f"{stem}.lora_up.weight": tensors["up"]}
        held[f"{stem}.alpha"] = torch.tensor(float(ALPHA))
        if "magnitude" in tensors:
            held[f"{stem}.dora_scale"] = tensors["magnitude"].reshape(-1, 1)
    save_file({name: value.contiguous() for name, value in held.items()}, path, notes or None)
    return path


def old_diffusers(source: Path, path: Path) -> Path:
    """The same LoRA as diffusers saved it before peft: attention processors, alpha worked into the weights."""
    held: dict[str, Tensor] = {}
    for (network, name), tensors in layers_of(source).items():
        stem = f"{network}.{name}"
        attends = any(each in name for each in (".attn1.", ".attn2."))
        if attends:
            head, _, layer = stem.rpartition(".to_")
            stem = f"{head}.processor.to_{layer.removesuffix('.0')}_lora"
        joint = "." if attends else ".lora."
        held[f"{stem}{joint}down.weight"], held[f"{stem}{joint}up.weight"] = (
            tensors["down"],
            tensors["up"] * ALPHA / RANK,
        )
    save_file(held, path)
    return path


def for_another_base(path: Path, width: int = 2048) -> Path:
    """A LoRA whose cross attention reads `width` channels, as those of SDXL do."""
    stem = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    save_file({f"{stem}.lora_down.weight": torch.zeros(4, width), f"{stem}.lora_up.weight": torch.zeros(64, 4)}, path)
    return path


def embedding(path: Path, width: int = 32, rows: int = 2, seed: int = 9, key: str = "emb_params") -> Path:
    """A textual inversion of so many vectors."""
    save_file({key: torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))}, path)
    return path


def footprint(network: nn.Module) -> dict[str, Any]:
    """All that an adapter could leave behind: weights to the byte, classes, hooks, processors."""
    return {
        "weights": {
            name: (id(value), value.data_ptr(), value.detach().numpy().tobytes())
            for name, value in [*network.named_parameters(), *network.named_buffers()]
        },
        "classes": [(name, type(each), sorted(vars(each))) for name, each in network.named_modules()],
        "hooks": [
            (name, list(each._forward_hooks.values()), [id(hook) for hook in each._forward_pre_hooks.values()])
            for name, each in network.named_modules()
        ],
    }
