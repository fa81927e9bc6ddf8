"""Train the judge: `python -m tests.quality.train_judge --minutes 2`, on an accelerator if there is one.

Writes judge.safetensors beside it every half minute and prints the share of right answers on held-out scenes.
"""

import argparse
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm import tqdm

from pipelines.training.scenes import draw
from tests.quality.exam import shares
from tests.quality.judge import NAMES, STRIDE, WEIGHTS, Detector, Judge, save_weights
from tests.quality.lessons import Lessons, held_out_scenes


def targets(rows: Tensor, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """From rows (B, K, 4) of class, x, y, scale: heat-maps (B, things, cells, cells), box values (B, 3, cells, cells)
    and where these count (B, 1, cells, cells). A thing is a bell a tenth as wide as itself, exactly one in its cell."""
    which, x, y, scale = rows.unbind(-1)  # (B, K)
    grid = torch.arange(cells, device=rows.device).float()
    dx, dy = x[..., None] * cells - grid, y[..., None] * cells - grid  # (B, K, cells), in cells
    near = ((dx - 0.5) ** 2)[:, :, None, :] + ((dy - 0.5) ** 2)[:, :, :, None]
    width = (scale * cells * 0.1).clamp(min=0.7)[..., None, None]
    bell = torch.exp(-near / (2 * width**2))
    centre = ((dx >= 0) & (dx < 1))[:, :, None, :] & ((dy >= 0) & (dy < 1))[:, :, :, None]
    bell = torch.where(centre, 1.0, bell.clamp(max=0.98)) * (which >= 0)[..., None, None]
    heat = torch.zeros(len(rows), len(NAMES), cells, cells, device=rows.device)
    heat.scatter_reduce_(1, which.long().clamp(min=0)[..., None, None].expand_as(bell), bell, "amax")
    weight, nearest = bell.max(1, keepdim=True)  # (B, 1, cells, cells)
    shape = bell.shape
    values = (dx[:, :, None, :].expand(shape), dy[:, :, :, None].expand(shape),
              scale.clamp(min=1e-3).log()[..., None, None].expand(shape))  # fmt: skip
    return heat, torch.cat([value.gather(1, nearest) for value in values], 1), weight * (weight > 0.3)


def loss_of(net: nn.Module, pixels: Tensor, rows: Tensor, backdrop: Tensor) -> Tensor:
    """Focal heat-map loss (Law and Deng 2018, Eq. 1, arXiv:1808.01244), L1 of the boxes, cross-entropy of backdrops."""
    with torch.autocast(pixels.device.type, torch.bfloat16):
        heat, box, seen = net(pixels.float() / 127.5 - 1)
    wanted, values, weight = targets(rows, pixels.shape[-1] // STRIDE)
    heat = heat.float()
    p = heat.sigmoid()
    hit = wanted == 1
    right = torch.where(hit, (1 - p) ** 2 * functional.logsigmoid(heat), 0)
    wrong = (1 - wanted) ** 4 * p**2 * functional.logsigmoid(-heat)
    count = hit.sum().clamp(min=1)
    focal = -(right + wrong).sum() / count
    boxes = ((box.float() - values).abs() * weight).sum() / weight.sum().clamp(min=1)
    return focal + boxes + 0.3 * functional.cross_entropy(seen.float(), backdrop, label_smoothing=0.02)


def train(net: nn.Module, loader: DataLoader, seconds: float, rate: float) -> Iterator[tuple[float, float]]:  # type: ignore[type-arg]
    """AdamW with a rate that rises for 50 steps and falls to zero at the end; yields seconds passed and the loss."""
    device = next(net.parameters()).device
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=0.02)
    began = time.monotonic()
    for step, (pixels, rows, backdrop) in enumerate(loader):
        passed = time.monotonic() - began
        if passed > seconds:
            return
        fraction = passed / seconds
        optimizer.param_groups[0]["lr"] = rate * min(1, (step + 1) / 50) * (1 + math.cos(math.pi * fraction)) / 2
        loss = loss_of(net, pixels.to(device), rows.to(device), backdrop.to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        yield passed, float(loss.detach())


def examined(path: Path, count: int) -> str:
    """The saved weights' shares of right answers on held-out scenes, as a line."""
    scenes = held_out_scenes(count)
    given = shares(scenes, Judge(path).look([draw(scene) for scene in scenes]))
    return " ".join(f"{question} {share:.1%}" for question, share in given.items())


def main(words: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    asked = parser.parse_args(words)
    torch.manual_seed(asked.seed)
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    net = Judge(asked.start).net.train() if asked.start else Detector()
    net.to(device, memory_format=torch.channels_last)
    loader = DataLoader(Lessons(asked.seed), asked.batch, num_workers=asked.workers, persistent_workers=False)
    saved = 0.0
    with tqdm(desc="judge", unit="picture") as bar:
        for passed, loss in train(net, loader, asked.minutes * 60, asked.rate):
            bar.update(asked.batch)
            bar.set_postfix(loss=f"{loss:.3f}", minutes=f"{passed / 60:.1f}", refresh=False)
            if passed > saved + 30:
                save_weights(net, asked.out)
                saved = passed
    save_weights(net, asked.out)
    print(examined(asked.out, 200))


if __name__ == "__main__":
    main()
