"""Rows of `tests.quality.systems` about searches, energies and what leans on them. Each measures -> (figure, met)."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pipelines.searches import searches
from tests.accounting import result_of

Measure = Callable[[], tuple[str, bool]]
LAB: list[tuple[str, str, Measure, bool]] = []  # name, criterion, function, whether it needs Pocket


def row(name: str, criterion: str, pocket: bool = False) -> Callable[[Measure], Measure]:
    """Adds a function to the table."""

    def keep(measure: Measure) -> Measure:
        LAB.append((name, criterion, measure, pocket))
        return measure

    return keep


def toy(budget: int, seed: int, **settings: Any) -> Any:
    """N(0, 1) in 16 numbers, rewarded for their mean; see tests/test_searches.py."""
    from tests.test_searches import gaussian

    return gaussian(budget, seed=seed, **{"size": 16, **settings})


def reached(name: str, budget: int, seeds: int = 12, **settings: Any) -> float:
    """The mean over seeds of the best reward."""
    from tests.test_searches import explored

    return statistics.mean(float(explored(name, toy(budget, seed, **settings)).best().scores) for seed in range(seeds))


@row("A31 toy", "zero-order >= best of N at 960 estimates; more never worse")
def zero_order() -> tuple[str, bool]:
    ours, drawn = reached("zero_order", 960), reached("random", 960)
    grown = [reached("zero_order", budget) for budget in (240, 480, 960)]
    return f"{ours:.2f} against {drawn:.2f}; {', '.join(f'{each:.2f}' for each in grown)}", (
        ours >= drawn and grown == sorted(grown)
    )


@row("A32 toy", "FK: tilted mean within 10 % at 16 particles, 5 % at 64")
def steering() -> tuple[str, bool]:
    """Of N(0, 1) by exp(0.5 x), whose mean is 0.5 times the variance that as many plain walks have."""
    from tests.test_searches import FINE, gaussian

    greed, shares = 0.5, []
    for particles, flocks in ((16, 160), (64, 40)):
        ends: dict[float, list[float]] = {greed: [], 0.0: []}
        for tilt, found in ends.items():
            for seed in range(flocks):
                terrain = gaussian(seed=seed, reward=lambda x0: x0[0, 0, 0, :1], size=1, sigmas=FINE)
                method = searches["fk"](greed=tilt, even=False, every=10)
                found += [float(x0) for x0 in result_of(method.steered(terrain, particles, 0))]
        mean, plain = statistics.mean(ends[greed]), ends[0.0]
        shares.append((mean - statistics.mean(plain)) / (greed * statistics.variance(plain)))
    return ", ".join(f"{each:.2f}" for each in shares), abs(shares[0] - 1) <= 0.1 and abs(shares[1] - 1) <= 0.05


@row("A33 toy", "flow: marginals of the SDE those of the ODE (KS p > 0.05); RBF >= best of N and FK at 500")
def rollover() -> tuple[str, bool]:
    from scipy.stats import ks_2samp

    from tests.test_searches import FINE, gaussian

    sde, ode = [], []
    for seed in range(40):
        terrain = gaussian(10**6, flow=True, seed=seed, size=8, sigmas=FINE)
        noise = terrain.source(0)(terrain.template)
        x = terrain.start(noise, terrain.sigmas[0])
        sde += result_of(terrain.segment(x, 0, terrain.steps, 1))[0].flatten().tolist()
        other = terrain.source(9)(terrain.template)
        ode += result_of(terrain.tried(other, terrain.source(9), 9)).x0.flatten().tolist()
    p = float(ks_2samp(sde, ode).pvalue)
    ours, drawn, steered = (reached(name, 500, flow=True) for name in ("rbf", "random", "fk"))
    return f"p {p:.2f}; {ours:.2f} against {drawn:.2f}, {steered:.2f}", p > 0.05 and ours >= max(drawn, steered)


@row("A34 toy", "tree: reward never falls with rollouts; that of the best of N for at most a third of the estimates")
def tree() -> tuple[str, bool]:
    grown = [reached("tree", budget) for budget in (120, 240, 480)]
    drawn = reached("random", 3 * 480)
    return f"{', '.join(f'{each:.2f}' for each in grown)} against {drawn:.2f}", (
        grown == sorted(grown) and grown[-1] >= drawn
    )


@cache
def memory() -> Any:
    """One for all rows."""
    from pipelines.memory import Memory

    return Memory()


def picture(**values: Any) -> tuple[Any, Any]:
    """The first picture of a request to Pocket, and the result."""
    from pipelines.shelf import NoShelf
    from pipelines.tasks import parse, run

    shelf = values.pop("shelf", None) or NoShelf()
    base = {"task": "text_to_image", "model": "pocket", "steps": 20, "prompt": "a red balloon over the sea"}
    result = result_of(run(parse({**base, **values}), memory(), shelf))
    return result.pictures[0].picture, result


@contextmanager
def judged() -> Iterator[None]:
    """A verifier for as long as the block lasts: how sure the judge is of the things that a prompt names."""
    from pipelines.pictures import to_pictures
    from pipelines.training.scenes import things
    from pipelines.verifiers import Case, Verifier, verifiers
    from tests.quality.judge import NAMES, Judge, to_pixels

    judge = Judge()

    @verifiers.register("judge")
    class Sure(Verifier):
        """How sure the judge is."""

        def __call__(self, seen: Tensor, case: Case) -> Tensor:
            wanted = [NAMES.index(name) for name in things if name in case.prompt]
            sure = []
            for each in to_pictures(seen):
                heat, _, _ = judge.net(to_pixels(each)[None])
                sure.append(torch.stack([heat[0, k].max() for k in wanted]).mean())
            return torch.stack(sure)

    try:
        yield
    finally:
        verifiers.remove("judge")


def sureness(name: str, prompts: list[str], budget: int, **knobs: Any) -> float:
    """The mean over prompts of the judge's score of what a search with that budget finds, in logits."""
    found = []
    for seed, prompt in enumerate(prompts):
        search = {"name": name, "knobs": {"budget": budget, **knobs}}
        _, result = picture(prompt=prompt, seed=100 + seed, search=search, verifiers=["judge"], sampler="euler")
        found.append(float(result.remarks[0].split("judge ")[1].split(")")[0]))
    return statistics.mean(found)


def prompts(count: int) -> list[str]:
    """Prompts of one thing each, that nobody chose."""
    from tests.quality.prompts import exercises

    return [each.prompt for each in exercises(10 * count) if len(each.things) == 1 and each.count == 1][:count]


@row("A31", "Pocket, the judge's score: zero-order >= best of N at 400 estimates", pocket=True)
def climbed() -> tuple[str, bool]:
    with judged():
        ours, drawn = (sureness(name, prompts(12), 400) for name in ("zero_order", "random"))
    return f"{ours:.2f} against {drawn:.2f}", ours >= drawn


@row("A32", "Pocket, the judge's score: FK with 4 particles >= best of 4", pocket=True)
def steered() -> tuple[str, bool]:
    with judged():
        ours, drawn = (sureness(name, prompts(12), 160) for name in ("fk", "random"))
    return f"{ours:.2f} against {drawn:.2f}", ours >= drawn


@row("A57", "Pocket knows backdrops of drawn scenes, of 11, in >= 80 %", pocket=True)
def classifier() -> tuple[str, bool]:
    from pipelines.models import models
    from tests.quality.recognition import accuracy

    share = accuracy(models["pocket"], memory(), count=40)
    return f"{share:.0%}", share >= 0.8


def leant(way: str, leaning: float = 0.5, **knobs: Any) -> float:
    """How much of the distance to a colour is left by that strength, as a median over seeds; measured on the pixels."""
    import numpy as np

    left = []
    for seed in range(5):
        far = []
        for strength in (leaning, 0.0):
            energy = {"name": "colour", "knobs": {"colour": "#2040e0"}}
            method = {"way": way, "strength": strength, "energy": energy, "end": 1.0, **knobs}
            guided = {"name": "tfg", "knobs": method}
            seen, _ = picture(seed=seed, guidance=guided, sampler="euler", prompt="a panda on a yellow background")
            mean = np.asarray(seen, float).mean((0, 1)) / 127.5 - 1
            far.append(float(np.square(mean - (np.array([0x20, 0x40, 0xE0]) / 127.5 - 1)).mean()))
        left.append(far[0] / far[1])
    return statistics.median(left)


@row("A20, A21, A22", "Pocket, a colour: what is left of the distance <= 50 %, by each way", pocket=True)
def energies() -> tuple[str, bool]:
    from pipelines.guidance.tfg import WAYS

    left = {way: leant(way) for way in WAYS}
    return ", ".join(f"{way} {each:.0%}" for way, each in left.items()), max(left.values()) <= 0.5


@row("A24", "cheap guidance: within 10 % of the full one's loss for <= 1/2.5 of its gradients", pocket=True)
def cheap() -> tuple[str, bool]:
    full, some = leant("universal", rounds=2), leant("universal", rounds=2, every=3, leaning=0.7)
    return f"{some:.1%} of the distance left against {full:.1%}, for a third", some <= full + 0.1


@row("A46", "seamless at 4 steps: step across the edge <= 1.05 of the steps inside, as a median", pocket=True)
def textures() -> tuple[str, bool]:
    import numpy as np

    ratios: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(6):
        for repeats, found in ratios.items():
            chosen = ["seamless"] if repeats else []
            seen, _ = picture(seed=seed, steps=4, accelerators=chosen, prompt="flowers in a meadow")
            levels = np.asarray(seen, float)
            for axis in (0, 1):
                inside = np.abs(np.diff(levels, axis=axis)).mean()
                across = np.abs(levels.take(0, axis) - levels.take(-1, axis)).mean()
                found.append(float(across / inside))
    ours, plain = (statistics.median(ratios[each]) for each in (True, False))
    return f"{ours:.2f}, without {plain:.2f}", ours <= 1.05


@row(
    "A49",
    "in-betweens of two pictures: ends as near as the plain way up and down, noise beyond 2 deviations < 0.3 %",
    pocket=True,
)
def between() -> tuple[str, bool]:
    import tempfile
    from pathlib import Path

    import numpy as np

    from pipelines.between import CLIPPED, corrected
    from pipelines.shelf import FolderShelf

    noises, latents = (tuple(torch.randn(2, 1, 32, 16, 16, generator=torch.Generator().manual_seed(k))) for k in (0, 1))
    halfway = corrected(noises, tuple(0 * each for each in latents), 0.5, torch.tensor(1.0), torch.tensor(1.0))
    beyond = float((halfway.abs() > 2**0.5 * CLIPPED).float().mean())
    with tempfile.TemporaryDirectory() as folder:
        shelf = FolderShelf(Path(folder))
        ends = [
            picture(seed=seed, prompt=words)[0]
            for seed, words in ((1, "a panda in the snow"), (2, "a frog on a green background"))
        ]
        names = dict(zip(("source", "last_source"), map(shelf.put, ends), strict=True))
        asked = {"task": "inbetween", "prompt": "a panda in the snow", "last": "a frog on a green background", "frames": 2,
                 "shows": "pictures", "sampler": "ddim", "steps": 50, "guidance": {"name": "cfg", "knobs": {"scale": 1}}}  # fmt: skip
        _, result = picture(**asked, **names, shelf=shelf)
        distances = [
            float(np.square(np.asarray(a, float) - np.asarray(b.picture, float)).mean())
            for a, b in zip(ends, result.pictures, strict=True)
        ]
    decibels = [10 * np.log10(255**2 / max(each, 1e-9)) for each in distances]
    return f"{', '.join(f'{each:.1f} dB' for each in decibels)}; {beyond:.2%}", min(decibels) >= 20 and beyond < 0.003


@row("A25", "CONFORM: things that are missing of pairs, <= 70 % of as many without", pocket=True)
def conform() -> tuple[str, bool]:
    from tests.quality.judge import Judge
    from tests.quality.prompts import exercises

    judge = Judge()
    pairs = [each for each in exercises(400) if len(each.things) == 2][:24]
    missing = {"cfg": 0, "conform": 0}
    for task in pairs:
        for name in missing:
            seen, _ = picture(prompt=task.prompt, seed=task.seed, guidance=name, sampler="euler", steps=25)
            verdict = judge.look([seen])[0]
            missing[name] += sum(not verdict.showing(thing) for thing in task.things)
    return f"{missing['conform']} against {missing['cfg']} of {2 * len(pairs)}", (
        missing["conform"] <= 0.7 * missing["cfg"]
    )
