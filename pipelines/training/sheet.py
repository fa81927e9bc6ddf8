"""Sample sheets: a fixed list of prompts, painted with fixed seeds, so that two sheets can be compared by eye."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDIMScheduler
from PIL import Image
from torch import Tensor

from pipelines.training.linear_code import CHANNELS
from pipelines.training.painter import make_scheduler, tokenize

PROMPTS = (
    "a cat on a blue background", "a big pumpkin in the night sky", "a dog on the left and a lion on the right at sea",
    "a small rocket at the top right in the sky", "a panda in the snow", "three strawberries on a white background",
    "a penguin on the beach", "a castle in the mountains", "an owl in the forest", "a cactus in the desert",
    "a sailboat at sunset", "a robot in the city at night",
    "a turtle under water", "two balloons in the sky", "a fox in the forest", "a huge butterfly in a meadow",
    "a guitar on a purple background", "an apple above a banana on a gray background", "a tiny bee in a green field",
    "a unicorn under the stars", "a hamburger next to a donut on a yellow background", "a snowman in winter",
    "three frogs in a meadow", "a red car on the beach",
    "a house on the left in the mountains", "an elephant in the desert", "an octopus in the deep sea",
    "a crown, a diamond and a key on a black background", "a train at sunset", "a whale at sea",
    "a pizza at the bottom on a green background", "a monkey to the right of a tulip on a pink background",
    "a ghost in the city at night", "a big sunflower on a blue background", "two rabbits in the snow",
    "a cute helicopter above a tent in the mountains, highly detailed",
)  # fmt: skip


@torch.no_grad()
def paint_latents(painter: Any, tokenizer: Any, prompts: list[str], steps: int = 20, guidance: float = 4.0) -> Tensor:
    """Latents (B, 32, 16, 16) for the prompts, by DDIM with classifier-free guidance; picture k has seed k."""
    device = next(painter.parameters()).device
    scheduler: DDIMScheduler = make_scheduler()
    scheduler.set_timesteps(steps)
    tokens = tokenize(tokenizer, [*prompts, *[""] * len(prompts)]).to(device)
    seeds = [torch.Generator().manual_seed(k) for k in range(len(prompts))]
    x = torch.stack([torch.randn(CHANNELS, 16, 16, generator=seed) for seed in seeds]).to(device)
    for t in scheduler.timesteps.tolist():
        said, unsaid = painter(torch.cat([x, x]), torch.full((2 * len(x),), t, device=device), tokens).chunk(2)
        x = scheduler.step(unsaid + guidance * (said - unsaid), t, x).prev_sample
    return x


def sheet(decode: Callable[[Tensor], Tensor], latents: Tensor, columns: int = 6) -> Image.Image:
    """One picture of all the pictures, in rows of `columns`."""
    pixels = torch.cat([decode(one[None]) for one in latents])  # (B, 3, H, W) in [-1, 1]
    pictures = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    height, width = pictures.shape[1:3]
    page = Image.new("RGB", (columns * width, -(-len(pictures) // columns) * height))
    for k, picture in enumerate(pictures):
        page.paste(Image.fromarray(picture), (k % columns * width, k // columns * height))
    return page
