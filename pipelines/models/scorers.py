"""CLIP models that compare pictures with words, found as folders in the layout of transformers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import StudioError
from pipelines.parts import Part, folder_part, json_file
from pipelines.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

scorers: Registry[Part] = Registry("CLIP model")  # by the name of the folder; filled by `scan_scorers`
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's training


def scan_scorers(folders: Iterable[Path]) -> None:
    """Bring the registry to the CLIP models that lie in these folders, or one below; reads headers, no weights."""
    for name in list(scorers):
        scorers.remove(name)
    for config in (
        each for folder in folders for each in sorted((*folder.glob("*/config.json"), *folder.glob("*/*/config.json")))
    ):
        try:
            if json_file(config).get("model_type") == "clip" and config.parent.name not in scorers:
                scorers.add(config.parent.name, scorer(config.parent))
        except (StudioError, KeyError, TypeError):
            continue  # no CLIP, or one without safe weights: the verifier says that there is none


def scorer(folder: Path) -> Part:
    """The CLIP model in a folder as a part, lent as a function (pixels (B, 3, H, W), prompt) -> cosines (B,)."""
    width = int(json_file(folder / "config.json")["projection_dim"])
    return folder_part("The CLIP model", folder, width, partial(_load, folder))


def _load(folder: Path, number_type: torch.dtype) -> nn.Module:
    import torch
    from torch.nn import functional
    from transformers import CLIPModel, CLIPTokenizer

    class Scorer(torch.nn.Module):
        """CLIP with its tokenizer: Radford et al. 2021 (arXiv:2103.00020)."""

        def __init__(self) -> None:
            super().__init__()
            self.model: Any = CLIPModel.from_pretrained(
                folder, dtype=number_type, local_files_only=True, use_safetensors=True
            )
            self.tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)

        def forward(self, pixels: Tensor, prompt: str) -> Tensor:
            side = self.model.config.vision_config.image_size
            mean, deviation = (pixels.new_tensor(each)[:, None, None] for each in (MEAN, DEVIATION))
            seen = functional.interpolate(pixels.float(), (side, side), mode="bicubic", antialias=True).clamp(-1, 1)
            words = self.tokenizer([prompt], truncation=True, return_tensors="pt").to(pixels.device)
            answer = self.model(pixel_values=(((seen + 1) / 2 - mean) / deviation).to(number_type), **words)
            return functional.cosine_similarity(answer.image_embeds, answer.text_embeds).float()

    return Scorer().eval()
