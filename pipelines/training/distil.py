"""Distil any Stable Diffusion checkpoint folder into a guidance-free or few-step LoRA, by one command.

    python -m pipelines.training.distil progressive --model assets/pocket --segments 4 --rank 48 --scale 3 \
        --minutes 25 --latents runs/latents.safetensors --out assets/adapters/pocket-4-steps.safetensors
    python -m pipelines.training.distil progressive --model assets/pocket --segments 2 --moves 2 --rank 48 \
        --minutes 10 --latents runs/latents.safetensors --teacher assets/adapters/pocket-4-steps.safetensors \
        --start assets/adapters/pocket-4-steps.safetensors --out assets/adapters/pocket-2-steps.safetensors
    python -m pipelines.training.distil lcm --model FOLDER --source teacher --prompts FILE --out lcm.safetensors

`--latents` keeps the encoded pictures (20,000 scenes, a quarter of a minute with 16 cores) for the next kind; time for
them and for the sample sheet is not counted in `--minutes`. The run folder (runs/NAME of --out) takes log, state and
sample sheet; the same command goes on from the state. Paint without guidance: with LCM (`lcm`, `trajectory`), as many
trailing steps of DDIM as there are segments (`progressive`), or any scheduler (`guidance`). Eps or v prediction is read
from the checkpoint's scheduler.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import torch
from diffusers import DDIMScheduler, LCMScheduler, StableDiffusionPipeline
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from pipelines.training import examples as sources
from pipelines.training.adapter import load_adapter, make_factors, merged, peft_metadata, save_adapter, targets
from pipelines.training.classroom import Classroom, Settings, answer, truth
from pipelines.training.consistency import Lesson, distance, target_x0
from pipelines.training.examples import Examples
from pipelines.training.student import Student


def loss_of(room: Classroom, student: Student, fraction: float) -> Tensor:
    """The loss of the next batch, with its graph."""
    settings = room.settings
    lesson = room.lesson(student.step, segments_at(settings, fraction))
    with torch.no_grad():
        target = room.estimate(merged(room.net, student.target))
        wanted = target_x0(settings.kind, room.path, lesson, room.teacher, target, settings.skip, settings.moves)
    given = answer(settings.kind, room.estimate(merged(room.net, student.factors)), lesson)
    return distance(given, wanted, room.path.at(lesson.t)[1])


def segments_at(settings: Settings, fraction: float) -> int:
    """How many segments the path is cut into at this fraction of the run; one for `lcm` and `guidance`."""
    if settings.kind in ("lcm", "guidance"):
        return 1
    count = len(settings.segments)
    shares = [k * (k + 1) / (count * (count + 1)) for k in range(1, count + 1)]  # cumulative: 1 + .. + k over the sum
    return next(
        (n for n, share in zip(settings.segments, shares, strict=True) if fraction < share), settings.segments[-1]
    )


def train(room: Classroom, student: Student) -> Iterator[dict[str, float]]:
    """Train to the end of the budget; yields step, seconds, loss and now and then the held-out loss. Closing it stops
    between two steps."""
    settings, exam = room.settings, room.examination()
    wanted, sigma = truth(room, exam), room.path.at(exam.t)[1]
    began = time.monotonic() - student.seconds
    while (fraction := max(student.seconds / 60 / settings.minutes, student.step / settings.steps)) < 1:
        rate = settings.rate * min(1, (student.step + 1) / 20) * (1 + math.cos(math.pi * fraction)) / 2
        loss = loss_of(room, student, fraction)
        if student.step % settings.check_every == 0:
            yield {**record(student, loss), "held_out": held_out_loss(room, student, exam, wanted, sigma)}
        student.learn(loss, rate)
        if student.step % 10 == 0:
            yield record(student, loss)  # reading the loss waits for the device, so the clock is true here
        student.seconds = time.monotonic() - began
    yield {**record(student, loss_of(room, student, 1)), "held_out": held_out_loss(room, student, exam, wanted, sigma)}


def record(student: Student, loss: Tensor) -> dict[str, float]:
    """One line of the log."""
    return {"step": student.step, "seconds": round(student.seconds, 1), "loss": float(loss.detach())}


@torch.no_grad()
def held_out_loss(room: Classroom, student: Student, exam: Lesson, wanted: Tensor, sigma: Tensor) -> float:
    """How far the factors that would be saved now are from the teacher's own answers."""
    given = answer(room.settings.kind, room.estimate(merged(room.net, student.smooth)), exam)
    return float(distance(given, wanted, sigma))


def distil(settings: Settings, pipe: Any, examples: Examples) -> float:
    """Train, or go on training, and save the adapter; returns the last held-out loss. `pipe` is a diffusers
    StableDiffusionPipeline in fp32 on the device to compute on; its networks come back unchanged."""
    room = Classroom(settings, pipe, examples)
    factors = make_factors(room.net, settings.rank, settings.seed)
    student = Student.starting(load_adapter(settings.start, factors) if settings.start else factors, settings.rate)
    if (settings.run / "state.json").exists():
        student.load(settings.run)
    held_out = math.nan
    try:
        held_out = watch(room, student)
    finally:
        student.save(settings.run)
    save_adapter(settings.out, student.smooth, card(settings, room, student))
    return held_out


def watch(room: Classroom, student: Student) -> float:
    """Train with a bar, a log of JSON lines and the state saved every minute; returns the last held-out loss."""
    settings, held_out, saved = room.settings, math.nan, student.seconds
    settings.run.mkdir(parents=True, exist_ok=True)
    with (settings.run / "log.jsonl").open("a") as log, tqdm(desc=settings.kind, unit="step") as bar:
        for line in train(room, student):
            held_out = line.get("held_out", held_out)
            bar.update(student.step - bar.n)
            shown = {"loss": line["loss"], "held_out": held_out, "minutes": student.seconds / 60}
            bar.set_postfix({name: f"{value:.4f}" for name, value in shown.items()})
            print(json.dumps(line), file=log, flush=True)
            if student.seconds > saved + 60:
                student.save(settings.run)
                saved = student.seconds
    return held_out


def card(settings: Settings, room: Classroom, student: Student) -> dict[str, str]:
    """What the adapter's file says about itself."""
    low, high = settings.scale
    facts = {"base": settings.model.name, "method": settings.kind, "steps": student.step, "batch": settings.batch}
    facts |= {"rank": settings.rank, "alpha": settings.rank, "guidance_scale": low if low == high else f"{low}-{high}"}
    names = list(targets(room.net))
    return {"lora_adapter_metadata": peft_metadata(settings.rank, names)} | {k: str(v) for k, v in facts.items()}


def sheet(settings: Settings, pipe: Any, prompts: list[str]) -> None:
    """Write run/sheet.png: a row of the teacher's pictures at 25 guided steps, then rows of the saved adapter's with
    the same seeds: 25 steps without guidance, its few of DDIM, or 4, 2 and 1 of LCMScheduler."""
    own = pipe.scheduler
    rows = [paint_row(pipe, prompts, 25, sum(settings.scale) / 2)]
    pipe.load_lora_weights(str(settings.out.parent), weight_name=settings.out.name)
    if settings.kind == "guidance":
        rows.append(paint_row(pipe, prompts, 25, 1.0))
    elif settings.kind == "progressive":
        pipe.scheduler = DDIMScheduler.from_config(own.config, timestep_spacing="trailing")
        rows.append(paint_row(pipe, prompts, settings.segments[-1], 1.0))
    else:
        pipe.scheduler = LCMScheduler.from_config(own.config)
        rows += [paint_row(pipe, prompts, steps, 1.0) for steps in (4, 2, 1)]
    pipe.unload_lora_weights()
    pipe.scheduler = own
    width, height = rows[0][0].size
    page = Image.new("RGB", (width * len(prompts), height * len(rows)))
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            page.paste(picture, (x * width, y * height))
    page.save(settings.run / "sheet.png")


def paint_row(pipe: Any, prompts: list[str], steps: int, scale: float) -> list[Image.Image]:
    """One picture per prompt, seeds 0, 1, 2 ..."""
    generators = [torch.Generator().manual_seed(k) for k in range(len(prompts))]
    painted = pipe(prompts, num_inference_steps=steps, guidance_scale=scale, generator=generators)
    return list(painted.images)


def gather(asked: argparse.Namespace, pipe: Any) -> Examples:
    """The examples that the command line asks for; kept in --latents for the next run."""
    if asked.latents and asked.latents.exists():
        return Examples.load(asked.latents)
    if asked.source == "teacher":
        prompts = asked.prompts.read_text().splitlines()
        found = sources.from_teacher(pipe, prompts, asked.count, asked.scale[0], asked.seed)
    elif asked.source == "scenes":
        found = sources.encode_all(pipe, sources.from_scenes(asked.count, asked.seed), asked.count)
    else:
        side = pipe.unet.config.sample_size * pipe.vae_scale_factor
        found = sources.encode_all(pipe, sources.from_folder(File(asked.source), side), None)
    if asked.latents:
        found.save(asked.latents)
    return found


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.training.distil", description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=["guidance", "lcm", "trajectory", "progressive"])
    parser.add_argument("--model", type=File, required=True, help="a checkpoint folder in the diffusers layout")
    parser.add_argument("--out", type=File, required=True, help="the adapter, a .safetensors file")
    parser.add_argument("--run", type=File, help="log, state and sheet; runs/NAME of --out if not given")
    parser.add_argument("--source", default="scenes", help="`scenes`, `teacher` (data-free), or a folder of pictures")
    parser.add_argument("--count", type=int, default=20_000, help="how many scenes or teacher's pictures")
    parser.add_argument("--prompts", type=File, help="for `--source teacher`: one prompt a line")
    parser.add_argument("--latents", type=File, help="keep the encoded examples here, or take them from here")
    parser.add_argument("--start", type=File, help="an adapter of the same rank to go on from")
    parser.add_argument("--scale", type=float, nargs="+", default=[5.0], help="the guidance to learn, or its range")
    parser.add_argument("--segments", type=int, nargs="+", default=[8, 4, 2, 1])
    parser.add_argument("--teacher", type=File, help="an adapter of the same rank that the teacher wears")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="", help="bf16 on accelerators if not given")
    parser.add_argument("--sheet", type=int, default=8, help="pictures in a row of the sample sheet, 0 for none")
    for name in ("minutes", "rate"):
        parser.add_argument("--" + name, type=float, default=getattr(Settings, name))
    for name in ("steps", "batch", "rank", "skip", "moves", "held_out", "check_every", "seed"):
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=getattr(Settings, name))
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Run the command line."""
    asked = parse(words)
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    pipe = StableDiffusionPipeline.from_pretrained(asked.model, dtype=torch.float32, safety_checker=None)
    pipe.to(device)
    pipe.set_progress_bar_config(disable=True)
    known = {name: value for name, value in vars(asked).items() if name in Settings.__dataclass_fields__}
    run = asked.run or File("runs") / asked.out.stem
    ends = (asked.scale[0], asked.scale[-1])
    settings = Settings(**known | {"run": run, "scale": ends, "segments": tuple(asked.segments)})
    examples = gather(asked, pipe)
    held_out = distil(settings, pipe, examples)
    if asked.sheet:
        texts = pipe.tokenizer.batch_decode(examples.tokens[-asked.sheet :], skip_special_tokens=True)
        sheet(settings, pipe, texts)
    print(f"{settings.out}: held-out loss {held_out:.4f}, {settings.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
