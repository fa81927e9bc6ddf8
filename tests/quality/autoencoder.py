"""PSNR of an autoencoder on held-out scenes and on scikit-image's photographs, which no training ever saw; and of what
is kept of both around a mask, by the decoder alone and where it is shown the picture (Zhu et al. 2023).

python -m tests.quality.autoencoder [--model assets/pocket] [--scenes 100] [--out FILE]
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from skimage import data
from torch import Tensor

from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder
from pipelines.training.scenes import draw
from tests.quality.brushes import POCKET
from tests.quality.lessons import held_out_scenes

PHOTOGRAPHS = (
    "astronaut",
    "coffee",
    "cat",
    "rocket",
    "camera",
    "coins",
    "page",
    "moon",
    "text",
    "immunohistochemistry",
)
NATURAL = ("astronaut", "coffee", "cat", "rocket", "camera")  # what people call a photograph


def psnr(given: Tensor, wanted: Tensor) -> float:
    """In dB, for pixels in [-1, 1]."""
    return float(10 * (4 / (given.clamp(-1, 1) - wanted).square().mean()).log10())


def to_pixels(picture: Image.Image) -> Tensor:
    """(1, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float()[None] / 127.5 - 1


@torch.inference_mode()
def round_trip(vae: Any, picture: Image.Image) -> float:
    """The PSNR of a picture that was encoded and decoded, cut to whole latents."""
    pixels = to_pixels(picture.crop((0, 0, picture.width // 16 * 16, picture.height // 16 * 16)))
    return psnr(vae.decode(vae.encode(pixels).latent_dist.mode()).sample, pixels)


def photographs() -> dict[str, Image.Image]:
    """Those that scikit-image carries in its package, each as an RGB picture."""
    found = {}
    for name in PHOTOGRAPHS:
        try:
            found[name] = Image.fromarray(getattr(data, name)()).convert("RGB")
        except Exception as reason:  # not in the package and no network: said, not hidden
            print(f"no {name}: {type(reason).__name__}")
    return found


def small_and_native(picture: Image.Image) -> dict[str, Image.Image]:
    """The middle square at 256 x 256, and the middle 256 x 256 as it is."""
    edge = min(picture.size)
    left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
    square = picture.crop((left, top, left + edge, top + edge))
    x, y = (picture.width - 256) // 2, (picture.height - 256) // 2
    native = picture.crop((x, y, x + 256, y + 256)) if edge >= 256 else square
    return {"resized": square.resize((256, 256), Image.Resampling.LANCZOS), "native": native}


@torch.inference_mode()
def kept(vae: Any, spec: ModelSpec, picture: Image.Image) -> tuple[float, float]:
    """The PSNR around a box over the middle third: by the decoder alone, and shown what it keeps."""
    pixels = to_pixels(picture.crop((0, 0, picture.width // 16 * 16, picture.height // 16 * 16)))
    mask = torch.zeros_like(pixels[:, :1])
    height, width = mask.shape[-2:]
    mask[..., height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = 1
    latents = spec.encode(vae, pixels)
    assert spec.decode_keeping is not None
    both = spec.decode(vae, latents), spec.decode_keeping(vae, latents, pixels, mask)
    around = mask[0, 0] == 0
    plain, shown = (psnr(each[0][:, around], pixels[0][:, around]) for each in both)
    return plain, shown


def keeping(model: Path, pictures: dict[str, list[Image.Image]]) -> None:
    """Prints what is kept, where the autoencoder has a branch for it."""
    spec, memory = load_folder(model, model.name), Memory()
    if spec.decode_keeping is None:
        return
    exact = replace(spec.vae, number_type=torch.float32)
    with memory.use(exact) as vae:
        for name, those in pictures.items():
            plain, shown = np.mean([kept(vae, spec, each) for each in those], axis=0)
            print(f"| {name}, around a mask | {plain:.1f} dB by the decoder alone | {shown:.1f} dB shown the picture |")


def main(words: list[str] | None = None) -> None:
    """Print the table and write it to --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=POCKET)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args(words)
    vae = AutoencoderKL.from_pretrained(asked.model, subfolder="vae", torch_dtype=torch.float32)
    scenes = [round_trip(vae, draw(scene)) for scene in held_out_scenes(asked.scenes)]
    rows = {name: {way: round_trip(vae, one) for way, one in small_and_native(picture).items()}
            for name, picture in photographs().items()}  # fmt: skip
    for name, row in rows.items():
        print(f"| {name} | {row['resized']:.1f} dB at 256 | {row['native']:.1f} dB native crop |")
    means = {way: float(np.mean([rows[name][way] for name in NATURAL])) for way in ("resized", "native")}
    print(f"| natural photographs | {means['resized']:.1f} dB at 256 | {means['native']:.1f} dB native crop |")
    print(f"| {len(scenes)} held-out scenes | {np.mean(scenes):.1f} dB, worst {min(scenes):.1f} |")
    natural = [small_and_native(photographs()[name])["resized"] for name in NATURAL]
    keeping(asked.model, {"photographs": natural, "scenes": [draw(each) for each in held_out_scenes(24)]})
    if asked.out:
        asked.out.write_text(json.dumps({"scenes": float(np.mean(scenes)), "photographs": rows, "means": means}))


if __name__ == "__main__":
    main()
