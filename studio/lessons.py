"""What a page shows of a training: plain values for its script. It reads events and starts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.events import Cancelled, Done, Failed, Lesson, Proof, Remark, Taught
from pipelines.job import Job
from pipelines.runner import Runner
from studio.views import moment, preview

ROUNDS = 12  # times of painting samples that a page is shown, the first and the last among them
IDLE: dict[str, Any] = {"state": "idle", "text": "", "losses": []}


def watched(jobs: Sequence[Job]) -> Job | None:
    """The training that a page has before it: one that goes on, else one that was paused, else the last that ended."""
    open_ones = sorted((job for job in jobs if job.ending is None), key=lambda job: (job.held, job.place))
    return next(iter(open_ones), jobs[-1] if jobs else None)


def marks(job: Job | None, runner: Runner) -> list[Any]:
    """A value that changes exactly when there is something else to show."""
    return [] if job is None else [job.id, job.said, runner.position(job), job.held, job.stopping.is_set()]


def course(job: Job | None, runner: Runner) -> dict[str, Any]:
    """A training as it stands: state, words, place, losses, and what came of it."""
    if job is None:
        return IDLE
    said, asked = job.latest(), job.request
    shown = {**moment([job], runner), "job": job.id, **_counted(said)}
    for name in ("word", "kind", "model"):
        shown[name] = getattr(asked, name, "")
    if job.held and job.ending is None:
        cut = " It was cut off; what was learned up to its last checkpoint is kept." if job.was_cut_off else ""
        place = f" at step {shown['step']} of {shown['steps']}" if "step" in shown else ""
        shown |= {"state": "paused", "text": f"Paused{place}.{cut}"}
    if isinstance(job.ending, Done):
        shown |= {"text": _done(said, job.ending.seconds), "name": _taught(said)}
    if isinstance(job.ending, (Failed, Cancelled)):
        shown["name"] = _taught(said)
    shown["remarks"] = [event.text for event in said if isinstance(event, Remark)]
    return shown


def proofs(job: Job | None) -> list[dict[str, Any]]:
    """The pictures that a training painted on the way, and to compare at its end; small, in order."""
    painted = [event for event in job.latest() if isinstance(event, Proof)] if job else []
    word = getattr(job.request, "word", "") if job else ""
    steps = sorted({each.step for each in painted if not each.loaded})
    kept = {steps[round(k * (len(steps) - 1) / (ROUNDS - 1))] for k in range(ROUNDS)} if len(steps) > ROUNDS else steps
    return [
        {
            "step": each.step,
            "prompt": each.prompt.replace("{}", word),
            "weight": each.weight,
            "loaded": each.loaded,
            "url": preview(each.picture),
        }
        for each in painted
        if each.loaded or each.step in kept
    ]


def painted(job: Job | None) -> int:
    """How many such pictures a job has painted by now."""
    return sum(isinstance(event, Proof) for event in job.latest()) if job else 0


def _counted(said: Sequence[Any]) -> dict[str, Any]:
    lesson = next((event for event in reversed(said) if isinstance(event, (Lesson, Taught))), None)
    losses = getattr(lesson, "losses", ())
    counted: dict[str, Any] = {"losses": [[step, round(loss, 5)] for step, loss in losses]}
    return {**counted, "step": lesson.step, "steps": lesson.steps} if isinstance(lesson, Lesson) else counted


def _taught(said: Sequence[Any]) -> str:
    return next((event.name for event in reversed(said) if isinstance(event, Taught)), "")


def _done(said: Sequence[Any], seconds: float) -> str:
    taught = next((event for event in reversed(said) if isinstance(event, Taught)), None)
    took = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
    return f"Taught {taught.steps} steps in {took}. It is ready in every tab." if taught else f"Ended after {took}."
