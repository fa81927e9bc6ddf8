"""Searches and measurements from a shell: `python -m pipelines.calibration boss --model pocket --steps 8`."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import StudioError
from pipelines.models import find
from pipelines.plans import Plan, keep

if TYPE_CHECKING:
    from pipelines.calibration.subject import Subject

PROMPTS = ("a panda in the snow", "a red apple on a table", "a boat at sea", "a house under a blue sky")


def boss(subject: Subject, options: argparse.Namespace) -> Plan:
    """Levels for an Euler walk."""
    from pipelines.calibration.boss import searched

    return Plan(kind="levels", method="boss", sigmas=searched(subject, options.steps, options.fine).tolist())


def autodiffusion(subject: Subject, options: argparse.Namespace) -> Plan:
    """Levels for DPM++ 2M, by evolution."""
    from pipelines.calibration.evolution import cost_of, evolved, moved, parents

    fine, reference = subject.fine(options.fine), subject.reference(options.fine)
    first = [each for each in parents(options.steps, options.fine) if each.steps[0] == ("x0", 2, False)]
    vary = partial(moved, fine=options.fine)
    best, cost = evolved(first, vary, cost_of(subject, fine, reference), options.budget, options.seed)
    sigmas = fine[[*best.levels, len(fine) - 1]].tolist()
    return Plan(kind="levels", method="autodiffusion", sigmas=sigmas, figures={"error": cost})


def solver(subject: Subject, options: argparse.Namespace) -> Plan:
    """Levels and how each step is solved, by evolution."""
    from pipelines.calibration.evolution import cost_of, evolved, parents, resolved

    fine, reference = subject.fine(options.fine), subject.reference(options.fine)
    cost = cost_of(subject, fine, reference)
    first = parents(options.steps, options.fine)
    fixed = min(cost(each) for each in first)
    best, found = evolved(first, partial(resolved, fine=options.fine), cost, options.budget, options.seed)
    sigmas = fine[[*best.levels, len(fine) - 1]].tolist()
    figures = {"error": found, "best fixed solver's error": fixed}
    return Plan(kind="solver", method="usf", sigmas=sigmas, steps=best.solver(), figures=figures)


def statistics(subject: Subject, options: argparse.Namespace) -> Plan:
    """Empirical model statistics for `dpm_v3`."""
    from pipelines.calibration.statistics import measured

    return measured(subject, options.fine)


def gaussian(subject: Subject, options: argparse.Namespace) -> Plan:
    """Mean and spectrum of what it paints, for `teleport`."""
    from pipelines.calibration.spectrum import measured

    return measured(subject.reference(options.steps))


def noise_shift(subject: Subject, options: argparse.Namespace) -> Plan:
    """What noise level to tell at `--side`, for `noise_shift`."""
    from pipelines.calibration.recalibration import measured

    if subject.resized is None or not options.side:
        raise StudioError("NoiseShift is measured for one size: name it with --side.")
    own = subject.reference(options.steps)
    return measured(subject, subject.resized(own, options.side), min(16, options.fine))


MADE = {
    "boss": boss,
    "autodiffusion": autodiffusion,
    "solver": solver,
    "statistics": statistics,
    "gaussian": gaussian,
    "noise_shift": noise_shift,
}


def main(arguments: list[str] | None = None) -> int:
    """Search or measure one thing and keep it; 0 where it went well, 2 with a sentence on stderr where it did not."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.calibration", description=__doc__)
    parser.add_argument("what", choices=MADE, help="; ".join(f"{name}: {made.__doc__}" for name, made in MADE.items()))
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--models", type=Path, help="a folder of further checkpoints in the diffusers layout")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--scale", type=float, default=5.0, help="of classifier-free guidance")
    parser.add_argument("--prompts", type=Path, help="a file with a prompt a line")
    parser.add_argument("--count", type=int, default=2, help="starting points a prompt")
    parser.add_argument("--side", type=int, default=0, help="pixels; the model's own by default")
    parser.add_argument("--budget", type=int, default=60, help="how many candidates evolution tries")
    parser.add_argument("--fine", type=int, default=64, help="levels of the fine walk that all is measured against")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    try:
        sys.stdout.write(made(parser.parse_args(arguments)) + "\n")
    except (StudioError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def made(options: argparse.Namespace) -> str:
    """The name under which what was asked for can be chosen."""
    import torch

    from pipelines.calibration.subject import subject
    from pipelines.device import Device
    from pipelines.memory import Memory
    from pipelines.stock import Stock

    if options.models:
        Stock(options.models).rescan()
    spec = find(options.model)
    prompts = options.prompts.read_text(encoding="utf-8").splitlines() if options.prompts else PROMPTS
    lent = subject(
        spec,
        Memory(Device(options.device)),
        prompts,
        options.scale,
        options.count,
        options.seed,
        0 if options.what == "noise_shift" else options.side,
    )
    with torch.inference_mode(), lent as given:
        plan = MADE[options.what](given, options)
    stem = f"{options.what}-{options.steps}" if plan.sigmas else f"{options.what}-cfg{options.scale:g}"
    stem = f"{options.what}-{options.side}" if options.what == "noise_shift" else stem
    keep(spec, stem, plan)
    return f"{options.model}/{stem}"


if __name__ == "__main__":
    sys.exit(main())
