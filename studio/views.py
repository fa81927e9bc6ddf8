"""What a page shows of jobs: plain values for the viewer's script. It reads events and starts nothing."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from pipelines.events import Cancelled, Done, Failed, Finished, Progress, Remark, Stage
from pipelines.gestures import arrows_of
from pipelines.job import Job
from pipelines.library import Library
from pipelines.runner import Runner
from studio.displays import before
from studio.files import address, jpeg, thumb

if TYPE_CHECKING:
    from pipelines.library.album import Kept
    from pipelines.shelf import FolderShelf

FILM = 40  # pictures of the film strip
LONGEST_SIDE = 512  # pixels of a preview; more costs a shared link more than the eye gains


def watched(jobs: Sequence[Job]) -> Job | None:
    """The job that a page has before it: the oldest that goes on and is not held, else the last that was begun here."""
    begun = [job for job in jobs if not job.held or (job.ending is not None and not job.was_left)]
    return next((job for job in begun if job.ending is None), begun[-1] if begun else None)


def marks(jobs: Sequence[Job], runner: Runner) -> list[Any]:
    """A value that changes exactly when there is something else to show."""
    job = watched(jobs)
    if job is None:
        return []
    return [len(jobs), job.id, job.said, runner.position(job), job.stopping.is_set()]


def moment(jobs: Sequence[Job], runner: Runner, library: Library | None = None) -> dict[str, Any]:
    """The job before the page, as it stands: state, words, progress and preview."""
    job = watched(jobs)
    if job is None:
        return {"state": "idle", "text": ""}
    waiting = sum(each.ending is None and not each.held for each in jobs) - 1
    shared = {"job": job.id, "more": max(waiting, 0), **sizes(job, library)}
    if job.ending is not None:
        return {**shared, **ended(job)}
    if job.stopping.is_set():
        return {**shared, "state": "stopping", "text": "Stopping"}
    if before := runner.position(job):
        return {
            **shared,
            "state": "waiting",
            "text": "Next in line" if before == 1 else f"In line, {before} before this",
        }
    return {**shared, "state": "working", "since": job.started or job.created, **_working(job)}


def sizes(job: Job, library: Library | None = None) -> dict[str, int]:
    """Width and height of what a job paints, where its request or the picture that it begins with says."""
    if hasattr(job.request, "width"):
        return {side: getattr(job.request, side) for side in ("width", "height")}
    start = before(job.request.model_dump(mode="json"), library.shelf(job.owner)) if library else None
    return dict(zip(("width", "height"), start["whole"], strict=True)) if start else {}


def ended(job: Job) -> dict[str, Any]:
    """How a job ended, in words; idle where it has not."""
    remarks = " ".join(dict.fromkeys(event.text for event in job.latest() if isinstance(event, Remark)))
    match job.ending:
        case Done(result, seconds):
            count = len(result.pictures)
            made = "Done" if count == 1 else f"{count} pictures"
            said = " ".join([*result.remarks, remarks]).strip()
            return {"state": "done", "text": f"{made} in {seconds:.1f} s.", "remark": said}
        case Failed(text):
            return {"state": "failed", "text": " ".join(filter(None, [text, remarks]))}
        case Cancelled():
            kept = any(isinstance(event, Finished) for event in job.latest())
            return {"state": "stopped", "text": "Stopped; what there was is kept." if kept else "Stopped."}
    return {"state": "idle", "text": ""}


def _working(job: Job) -> dict[str, Any]:
    said = job.latest()
    progress = next((event for event in reversed(said) if isinstance(event, Progress)), None)
    last = next((event for event in reversed(said) if isinstance(event, (Stage, Progress, Finished))), None)
    view: dict[str, Any] = {"text": "Starting"}
    if progress is not None:
        view |= _counted(progress, time.time() - job.started)
        view |= _pulled(progress, str(getattr(job.request, "arrows", "")))
    if isinstance(last, Stage):
        view |= {"text": last.text}
    if remark := next((event.text for event in reversed(said) if isinstance(event, Remark)), ""):
        view |= {"remark": remark}
    return view


def _counted(progress: Progress, elapsed: float) -> dict[str, Any]:
    done = (progress.picture - 1 + progress.step / progress.steps) / progress.pictures
    of = f"Picture {progress.picture} of {progress.pictures}, step" if progress.pictures > 1 else "Step"
    each = elapsed / done / progress.pictures if done else 0.0  # nothing is known before the first step
    left = (progress.seconds_left or 0) + each * (progress.pictures - progress.picture)
    view: dict[str, Any] = {"text": f"{of} {progress.step} of {progress.steps}", "done": done}
    if progress.seconds_left is not None:
        view["left"] = round(left, 1)
    if progress.preview is not None:
        view["preview"] = preview(progress.preview)
    return view


def _pulled(progress: Progress, arrows: str) -> dict[str, Any]:
    """Where what is pulled has come to, where it belongs, and how far that is."""
    if not progress.points:
        return {}
    targets = [end for _, end in arrows_of(arrows)]
    left = [math.dist(*each) for each in zip(progress.points, targets, strict=True)]
    text = f"Step {progress.step} of {progress.steps}, {sum(left) / len(left):.0f} px to go"
    return {"points": progress.points, "targets": targets, "text": text}


def preview(picture: Image.Image) -> str:
    """A small picture as a data URI."""
    small = picture.convert("RGB")
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return jpeg(small, 80)


def film(library: Library, owner: str, tasks: Sequence[str]) -> list[dict[str, Any]]:
    """The latest pictures of an owner by some tasks, the newest first; `before` is what one began with, where it lies
    in it."""
    return [_frame(each, library.shelf(owner)) for each in library.album.latest(owner, tasks, FILM)]


def _frame(kept: Kept, shelf: FolderShelf) -> dict[str, Any]:
    return {
        "id": kept.id,
        "job": kept.job,
        "name": kept.file.name,
        "url": address(str(kept.file)),
        "thumb": thumb(str(kept.file)),
        "recipe": json.dumps(kept.request),
        "seed": kept.seed,
        "prompt": kept.prompt,
        "seconds": kept.seconds,
        "before": before(kept.request, shelf),
        "width": kept.width,
        "height": kept.height,
    }
