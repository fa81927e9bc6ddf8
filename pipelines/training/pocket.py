"""Makes the built-in model from nothing, by one command, on a CPU or a GPU; the same command goes on after a stop.

    python -m pipelines.training.pocket --autoencoder-minutes 6 --painter-minutes 13 --small-minutes 2 --scenes 200000

Stages: `scenes` (fit the linear code, draw the album), `autoencoder`, `painter`, `small`, `export`. After the first,
stages do not wait for each other's results, so `--stages` may run them in processes side by side. The run folder takes
states, logs (JSON lines) and sample sheets.
"""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from transformers import CLIPTokenizer

from pipelines.device import Device
from pipelines.training import autoencoder, export, painter
from pipelines.training.album import Album, make_album, shares
from pipelines.training.captions import words
from pipelines.training.learner import Budget, Course, Learner, teach
from pipelines.training.linear_code import LinearCode, fit
from pipelines.training.painter import SMALL, Painter
from pipelines.training.partner import Partner
from pipelines.training.sheet import PROMPTS, paint_latents, sheet
from pipelines.training.words import make_tokenizer

STAGES = ("scenes", "autoencoder", "painter", "small", "export")
HELD_OUT = 1000  # scenes
CODE = "linear_code.safetensors"  # what the latents mean, kept with the model so that training can go on from it


@dataclass
class Workshop:
    """What the command line asked for, and what the stages share."""

    asked: argparse.Namespace

    @cached_property
    def device(self) -> torch.device:
        return Device(self.asked.device).torch

    @cached_property
    def tokenizer(self) -> CLIPTokenizer:
        return make_tokenizer(words())

    @cached_property
    def code(self) -> LinearCode:
        """The linear code, fitted once and kept in the run folder."""
        path = self.asked.run / "code.safetensors"
        if not path.exists() and self.asked.begin_from:
            return LinearCode.load(self.asked.begin_from / CODE)
        if not path.exists():
            self.asked.run.mkdir(parents=True, exist_ok=True)
            fit(autoencoder.drawn("train", range(k, k + 50)) for k in range(0, 1000, 50)).save(path)
        return LinearCode.load(path)

    def album(self, split: Any, count: int) -> Album:
        """Drawn scenes, kept in the run folder."""
        return make_album(self.asked.run / "scenes", split, count, self.code, self.asked.workers)

    def numbers(self) -> AbstractContextManager[Any]:
        """Half precision where it was asked for."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.asked.precision == "bf16")

    def generator(self, step: int) -> torch.Generator:
        """The random numbers of a step."""
        return torch.Generator().manual_seed(self.asked.seed * 1_000_003 + step)

    def compiled(self, net: torch.nn.Module) -> Any:
        """The network, compiled where it was asked for."""
        return torch.compile(net) if self.asked.compile else net

    def autoencoder(self) -> Any:
        """An untrained autoencoder of the size asked for."""
        toy = self.asked.size == "toy"
        return autoencoder.make_autoencoder(autoencoder.TOY_WIDTHS if toy else autoencoder.WIDTHS)

    def learned_autoencoder(self) -> Any:
        """The autoencoder as far as this run trained it, or as the model to go on from has it. Raises OSError."""
        state = self.asked.run / "autoencoder.safetensors"
        if not state.exists() and self.asked.begin_from:
            return AutoencoderKL.from_pretrained(self.asked.begin_from / "vae")
        return export.averaged(state, self.autoencoder())

    def decoder(self) -> Callable[[Tensor], Tensor]:
        """Latents to pixels: by the autoencoder as far as it is trained, else by the linear code."""
        if not (self.asked.run / "autoencoder.safetensors").exists() and not self.asked.begin_from:
            return lambda latents: self.code.decode(latents.cpu())
        net = self.learned_autoencoder()
        return lambda latents: torch.as_tensor(net.decode(latents.cpu()).sample).detach()


def train_autoencoder(shop: Workshop) -> None:
    """Stage `autoencoder`."""
    asked = shop.asked
    budget = Budget(asked.autoencoder_minutes, asked.steps, asked.autoencoder_rate)
    torch.manual_seed(asked.seed)
    start = AutoencoderKL.from_pretrained(asked.begin_from / "vae") if asked.begin_from else shop.autoencoder()
    learner = Learner(start.to(shop.device))
    code = shop.code.to(shop.device)
    net, exam = shop.compiled(learner.net), autoencoder.drawn("held_out", range(24)).to(shop.device)

    def loss(step: int) -> Tensor:
        pixels = autoencoder.lesson(asked.seed, step, asked.autoencoder_batch).to(shop.device)
        late = budget.fraction(learner.step, learner.seconds) > autoencoder.APART
        with shop.numbers():
            return autoencoder.Regression(net, code).loss(pixels, late and step % 2 == 0, shop.generator(step))

    def examine() -> dict[str, float]:
        with shop.numbers():
            return autoencoder.examine(learner.average, code, exam)

    @torch.no_grad()
    def show() -> None:
        average: Any = learner.average
        back = torch.cat([exam[:6], average.decode(code.encode(exam[:6])).sample])
        sheet(lambda pixels: pixels, back).save(asked.run / "autoencoder.png")

    teach(Course("autoencoder", budget, loss, examine, show, asked.run), learner)


@dataclass
class Lectern:
    """The net of stage `painter` or `small`, and its losses."""

    shop: Workshop
    name: str

    @cached_property
    def net(self) -> Painter:
        """Untrained or as it was exported; the small one learns with the text encoder of the large, which stays."""
        shop, size = self.shop, SMALL if self.name == "small" else painter.SIZES[self.shop.asked.size]
        torch.manual_seed(shop.asked.seed)
        net = Painter(painter.make_unet(size), painter.make_text(shop.tokenizer, size))
        if shop.device.type == "cpu":  # torch's own attention spends a fifth of a step in its backward
            net.unet.set_attn_processor(AttnProcessor())
        if shop.asked.begin_from and self.name == "painter":
            export.take(net, shop.asked.begin_from)
        if self.name == "small":
            net.text = self.elder.text
            if shop.asked.begin_from and (shop.asked.small_out / "unet").exists():
                export.take_unet(net, shop.asked.small_out)
        return net.to(shop.device)

    @cached_property
    def elder(self) -> Painter:
        """The large painter, frozen: as far as this run trained it, or as the model to go on from has it."""
        shop, state = self.shop, self.shop.asked.run / "painter.safetensors"
        if state.exists() or not shop.asked.begin_from:
            net = export.painter(state, shop.tokenizer, painter.SIZES[shop.asked.size])
        else:
            size = painter.SIZES[shop.asked.size]
            net = Painter(painter.make_unet(size), painter.make_text(shop.tokenizer, size))
            export.take(net, shop.asked.begin_from)
        if shop.device.type == "cpu":
            net.unet.set_attn_processor(AttnProcessor())
        return net.to(shop.device).eval().requires_grad_(False)

    @cached_property
    def training(self) -> Any:
        """The net as it is called."""
        return self.shop.compiled(self.net)

    @cached_property
    def album(self) -> Album:
        """What is learned from."""
        return self.shop.album("train", self.shop.asked.scenes)

    def loss(self, step: int) -> Tensor:
        """The loss of a step; places where things are count more."""
        return self.error(self.training, self.album, step, self.shop.asked.painter_batch, even=False)

    def error(self, net: Any, source: Album, step: int, batch: int, even: bool) -> Tensor:
        """The loss on examples of a source."""
        shop = self.shop
        latents, sentences, where = source.batch(shop.asked.seed, step, batch, {} if even else shop.asked.shares)
        generator = shop.generator(step)
        tokens = painter.tokenize(shop.tokenizer, painter.drop_sentences(sentences, generator)).to(shop.device)
        alphas, weights = painter.make_scheduler().alphas_cumprod, None if even else where.to(shop.device)
        with shop.numbers():
            given = painter.noised(latents.to(shop.device), alphas, generator)
            if self.name == "small" and not even:
                given = painter.answered(given, self.elder, tokens)
            return painter.painter_loss(net, given, tokens, weights)


def lessons(asked: argparse.Namespace, name: str) -> tuple[Painter, Callable[[int], Tensor]]:
    """What a partner learns with."""
    lectern = Lectern(Workshop(asked), name)
    return lectern.net, lectern.loss


def train_painter(shop: Workshop, name: str, minutes: float) -> None:
    """Stages `painter` and `small`."""
    asked, lectern = shop.asked, Lectern(shop, name)
    learner, exams = Learner(lectern.net), shop.album("held_out", HELD_OUT)

    @torch.no_grad()
    def examine() -> dict[str, float]:
        return {"held_out": float(lectern.error(learner.average, exams, 0, 96, even=True))}

    def show() -> None:
        with shop.numbers():
            latents = paint_latents(learner.average, shop.tokenizer, list(PROMPTS[: asked.sheet]))
        sheet(shop.decoder(), latents.float()).save(asked.run / f"{name}-{learner.step:06d}.png")

    build = partial(lessons, asked, name)
    partner = None if asked.partner_core is None else Partner(build, learner.net, asked.partner_core)
    budget = Budget(minutes, asked.steps, asked.painter_rate)
    teach(Course(name, budget, lectern.loss, examine, show, asked.run, partner), learner)


def hand_over(shop: Workshop) -> None:
    """Stage `export`."""
    asked = shop.asked
    learned = export.painter(asked.run / "painter.safetensors", shop.tokenizer, painter.SIZES[asked.size])
    if asked.share < 1 and asked.begin_from:
        size = painter.SIZES[asked.size]
        before = Painter(painter.make_unet(size), painter.make_text(shop.tokenizer, size))
        export.take(before, asked.begin_from)
        learned = export.blended(learned, before, asked.share)
    export.export(learned, shop.learned_autoencoder(), shop.tokenizer, asked.out)
    shop.code.save(asked.out / CODE)
    if (asked.run / "small.safetensors").exists():
        export.export_small(asked.run / "small.safetensors", learned, asked.small_out)


def parse(line: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.training.pocket", description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, default=Path("runs/pocket"), help="states, logs, sheets")
    parser.add_argument("--out", type=Path, default=Path("assets/pocket"), help="where the finished model goes")
    parser.add_argument("--small-out", type=Path, default=Path("assets/pocket-small"))
    parser.add_argument(
        "--begin-from",
        type=Path,
        help="a finished model whose weights to go on from; the small one goes on from --small-out",
    )
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--size", choices=painter.SIZES, default="pocket", help="`toy` for a quick try")
    parser.add_argument("--scenes", type=int, default=200_000, help="how many scenes to draw")
    parser.add_argument("--workers", type=int, help="processes that draw; all cores if not given")
    for name, minutes in (("autoencoder", 6.0), ("painter", 13.0), ("small", 2.0)):
        parser.add_argument(f"--{name}-minutes", type=float, default=minutes)
    parser.add_argument("--steps", type=float, default=float("inf"), help="end every stage after so many steps")
    parser.add_argument("--autoencoder-batch", type=int, default=16, help="crops of 128 pixels")
    parser.add_argument("--painter-batch", type=int, default=48, help="pictures")
    parser.add_argument("--share", type=float, default=1.0, help="of the export from --begin-from to what was learned")
    parser.add_argument(
        "--shares", type=shares, default={}, help="of the scenes of a sort, to learn from: pair=0.5,twins=0.7"
    )
    parser.add_argument("--autoencoder-rate", type=float, default=1e-3)
    parser.add_argument("--painter-rate", type=float, default=1e-3)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--compile", action="store_true", help="torch.compile; pays on a GPU alone")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument(
        "--partner-core", type=int, help="a core for a second process that learns along when it is free"
    )
    parser.add_argument("--sheet", type=int, default=12, help="pictures on a sample sheet, at most 36")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(line)


def main(line: list[str] | None = None) -> None:
    """Run the stages asked for, in order."""
    shop = Workshop(parse(line))
    asked = shop.asked
    if asked.threads:
        torch.set_num_threads(asked.threads)
    if "scenes" in asked.stages:
        shop.album("train", asked.scenes)
        shop.album("held_out", HELD_OUT)
    if "autoencoder" in asked.stages:
        train_autoencoder(shop)
    if "painter" in asked.stages:
        train_painter(shop, "painter", asked.painter_minutes)
    if "small" in asked.stages:
        train_painter(shop, "small", asked.small_minutes)
    if "export" in asked.stages:
        hand_over(shop)


if __name__ == "__main__":
    main()
