"""Rows of `tests.quality.systems` about how right pictures of the built-in model are; all but one by the judge."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tests.quality.lab import memory, picture, prompts, row

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.calibration.subject import Subject


def sure_of(pictures: Sequence[Image], asked: Sequence[str]) -> float:
    """How sure the judge is, in logits, of the things that prompts name, or of any where they name none; the mean."""
    from pipelines.training.scenes import things
    from tests.quality.judge import NAMES, Judge, to_pixels

    judge, found = Judge(), []
    with torch.inference_mode():
        for seen, prompt in zip(pictures, asked, strict=True):
            heat, _, _ = judge.net(to_pixels(seen)[None])
            wanted = [NAMES.index(name) for name in things if name in prompt] or range(len(NAMES))
            found.append(float(torch.stack([heat[0, k].max() for k in wanted]).max()))
    return statistics.mean(found)


@contextmanager
def painter(asked: Sequence[str], scale: float, side: int = 0) -> Iterator[Subject]:
    """Pocket, guided, with a starting point for each prompt."""
    from pipelines.calibration.subject import subject
    from pipelines.models import models

    with torch.inference_mode(), subject(models["pocket"], memory(), asked, scale, 1, 5, side) as made:
        yield made


def decoded(latents: Tensor) -> list[Image]:
    """Pictures of latents (N, C, h, w)."""
    from pipelines.models import models
    from pipelines.pictures import to_pictures

    spec = models["pocket"]
    with torch.inference_mode(), memory().use(spec.vae) as vae:
        return [to_pictures(spec.decode(vae, each[None]))[0] for each in latents]


@row("A10", "8 steps on few_steps levels as right as DPM++ 2M at 20, of 60 prompts", pocket=True)
def few_steps() -> tuple[str, bool]:
    from tests.quality.judge import Judge
    from tests.quality.pocket import marks
    from tests.quality.prompts import exercises

    judge, right, asked = Judge(), {8: 0, 20: 0}, 0
    for task in exercises(60):
        for steps, schedule in ((8, "few_steps"), (20, "own")):
            chosen = {"prompt": task.prompt, "seed": task.seed, "steps": steps, "schedule": schedule}
            seen, _ = picture(**chosen, sampler="dpmpp_2m", guidance={"name": "cfg", "knobs": {"scale": 3}})
            given = marks(task, judge.look([seen])[0])
            right[steps] += sum(given.values())
        asked += len(given)
    return f"{right[8]} of {asked} answers right against {right[20]}", right[8] >= right[20]


@row(
    "A15", "NoiseShift: at native size what is told is within 5 %; at half, held-out one-step error falls", pocket=True
)
def noise_shift() -> tuple[str, bool]:
    from pipelines.accelerators.noise_shift import retold
    from pipelines.calibration.recalibration import measured

    with painter(prompts(12), 1.0) as subject:
        assert subject.resized is not None
        own, said = subject.reference(20), {}
        for side in (256, 128):
            latents = subject.resized(own, side)
            tables = measured(subject, latents, 8).tables
            off, gains = [], []
            noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(99)).to(latents)
            for (level,), (told,) in list(zip(tables["sigma"], tables["told"], strict=True))[1:-1]:
                sigma = torch.tensor(level).to(latents)
                x = latents + sigma * noise
                error = [
                    float((retold(lambda *at: [subject.denoise(*at)], x, sigma, seen, subject.path.alpha)[0] - latents).square().mean())
                    for seen in (torch.tensor(told).to(latents), sigma)
                ]  # fmt: skip
                off.append(abs(told / level - 1))
                gains.append(error[0] / error[1])
            said[side] = statistics.median(off), statistics.mean(gains)
    told_off, gain = said[256][0], said[128][1]
    figure = f"native: {told_off:.1%} off, error times {said[256][1]:.3f}; half: {said[128][0]:.1%}, {gain:.3f}"
    return figure, told_off <= 0.05 and gain < 1


@row("A16", "nested: stopped at 25, 50 and 75 % better judged than plain x0; at the end within 5 %", pocket=True)
def nested() -> tuple[str, bool]:
    from pipelines.samplers import samplers

    asked, seen = prompts(16), {}
    with painter(asked, 3.0) as subject:
        for name, steps, inner, at in (("nested", 5, 5, (0, 1, 2, 4)), ("ddim", 21, 1, (4, 9, 14, 20))):
            knobs: dict[str, Any] = {"inner": inner} if name == "nested" else {}
            walk = samplers[name](**knobs)(subject.denoise, subject.starts, subject.fine(steps), subject.path)
            estimates = [step.denoised.clone() for step in walk]
            seen[name] = [sure_of(decoded(estimates[k]), asked) for k in at]
    ours, plain = seen["nested"], seen["ddim"]
    said = ", ".join(f"{one:.2f} against {other:.2f}" for one, other in zip(ours, plain, strict=True))
    better = all(one > other for one, other in zip(ours[:3], plain[:3], strict=True))
    return said, better and ours[3] >= plain[3] - 0.05 * abs(plain[3])


@row("A18", "PAG: structure 0 is plain to the byte; without prompt, a thing is surer to be seen at 3", pocket=True)
def structure() -> tuple[str, bool]:
    off = {"name": "pag", "knobs": {"structure": 0, "scale": 4}}
    same = (
        picture(guidance=off, seed=1)[0].tobytes()
        == picture(guidance={"name": "cfg", "knobs": {"scale": 4}}, seed=1)[0].tobytes()
    )
    sure = []
    for structure in (3.0, 0.0):
        guidance = {"name": "pag", "knobs": {"structure": structure, "scale": 1}}
        seen = [picture(prompt="", seed=seed, guidance=guidance)[0] for seed in range(16)]
        sure.append(sure_of(seen, [""] * len(seen)))
    return f"{sure[0]:.2f} against {sure[1]:.2f}; equal: {same}", same and sure[0] > sure[1]


@row(
    "A27", "composable: both things of pairs shown more often than by one prompt; weight 0 changes no bit", pocket=True
)
def composed() -> tuple[str, bool]:
    from tests.quality.judge import Judge
    from tests.quality.prompts import article, exercises

    judge, shown = Judge(), {" AND ": 0, " and ": 0}
    pairs = [task for task in exercises(400) if len(task.things) == 2][:24]
    for task in pairs:
        for joint in shown:
            words = joint.join(article(name) for name in task.things)
            seen, _ = picture(prompt=words, seed=task.seed, guidance="composable")
            verdict = judge.look([seen])[0]
            shown[joint] += all(verdict.showing(name) for name in task.things)
    alone, less = (picture(prompt=words, seed=1, guidance="composable")[0] for words in ("a cat", "a cat AND a dog :0"))
    same = alone.tobytes() == less.tobytes()
    return f"{shown[' AND ']} against {shown[' and ']} of {len(pairs)}; equal: {same}", (
        same and shown[" AND "] > shown[" and "]
    )


@row("A43", "tiles: half the work of overlapping ones or less, edges <= 1.05 of like places inside", pocket=True)
def tiles() -> tuple[str, bool]:
    from random import Random

    import numpy as np

    from pipelines.mosaic import STEP, tiled
    from pipelines.tiles import shifted

    side, ratios = 16, []
    for seed in range(4):
        rng = Random(seed)
        with painter(["flowers in a meadow"], 3.0, side=512) as subject:
            whole = tiled(lambda x, sigma, _, ask=subject.denoise: [ask(x, sigma)], side, rng)  # type: ignore[misc]
            x = subject.starts
            for sigma, sigma_next in pairwise(subject.fine(12)):
                last = rng.getstate()
                (denoised,) = whole(x, sigma, [])
                x = denoised + (x - denoised) / sigma * sigma_next
        rng.setstate(last)
        levels = np.asarray(decoded(x)[0], float)
        for axis, edges in enumerate(
            zip(*((top, left) for left, top, _, _ in shifted((32, 32), side, STEP, rng)), strict=True)
        ):
            steps = np.abs(np.diff(levels, axis=axis)).mean((1 - axis, 2))[15::16]  # between latents
            cuts = {edge - 1 for edge in edges if edge}
            inside = [step for k, step in enumerate(steps) if k not in cuts]
            ratios.append(float(np.mean([steps[k] for k in cuts]) / np.mean(inside)))
    ratio, overlapped = statistics.median(ratios), 49 * 16**2  # tiles of 16 that overlap by half, on 64 x 64
    asked = sum(
        (right - left) * (bottom - top) for left, top, right, bottom in shifted((64, 64), side, STEP, Random(0))
    )
    return f"{overlapped / asked:.1f} times less, edges {ratio:.2f}", overlapped >= 2 * asked and ratio <= 1.05
