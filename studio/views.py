"""What a page shows of jobs: plain values for the viewer's script. It reads events and starts nothing."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from pipelines.events import Cancelled, Done, Failed, Finished, Progress, Remark, Stage
from pipelines.job import Job
from pipelines.runner import Runner

THUMB = 192  # pixels of the longer side in the film strip
LONGEST_SIDE = 512  # pixels of a preview; more costs a shared link more than the eye gains


def watched(jobs: Sequence[Job]) -> Job | None:
    """The job that a page has before it: the oldest that has not ended, else the last."""
    return next((job for job in jobs if job.ending is None), jobs[-1] if jobs else None)


def marks(jobs: Sequence[Job], runner: Runner) -> list[Any]:
    """A value that changes exactly when there is something else to show."""
    job = watched(jobs)
    if job is None:
        return []
    return [len(jobs), job.id, job.said, runner.position(job), job.stopping.is_set()]


def moment(jobs: Sequence[Job], runner: Runner) -> dict[str, Any]:
    """The job before the page, as it stands: state, words, progress and preview."""
    job = watched(jobs)
    if job is None:
        return {"state": "idle", "text": ""}
    waiting = sum(each.ending is None for each in jobs) - 1
    shared = {"job": job.id, "more": max(waiting, 0), **sizes(job)}
    if job.ending is not None:
        return {**shared, **_ended(job)}
    if job.stopping.is_set():
        return {**shared, "state": "stopping", "text": "Stopping"}
    if before := runner.position(job):
        return {
            **shared,
            "state": "waiting",
            "text": "Next in line" if before == 1 else f"In line, {before} before this",
        }
    return {**shared, "state": "working", "since": job.started or job.created, **_working(job)}


def sizes(job: Job) -> dict[str, int]:
    """Width and height of what a job paints, where its request says."""
    return {side: getattr(job.request, side) for side in ("width", "height") if hasattr(job.request, side)}


def _ended(job: Job) -> dict[str, Any]:
    remarks = " ".join(event.text for event in job.latest() if isinstance(event, Remark))
    match job.ending:
        case Done(result, seconds):
            count = len(result.pictures)
            made = "Done" if count == 1 else f"{count} pictures"
            said = " ".join([*result.remarks, remarks]).strip()
            return {"state": "done", "text": f"{made} in {seconds:.1f} s.", "remark": said}
        case Failed(text):
            return {"state": "failed", "text": " ".join(filter(None, [text, remarks]))}
        case Cancelled():
            return {"state": "stopped", "text": "Stopped."}
    return {"state": "idle", "text": ""}


def _working(job: Job) -> dict[str, Any]:
    said = job.latest()
    progress = next((event for event in reversed(said) if isinstance(event, Progress)), None)
    last = next((event for event in reversed(said) if isinstance(event, (Stage, Progress, Finished))), None)
    view: dict[str, Any] = {"text": "Starting"}
    if progress is not None:
        view |= _counted(progress, time.time() - job.started)
    if isinstance(last, Stage):
        view |= {"text": last.text}
    if remark := next((event.text for event in reversed(said) if isinstance(event, Remark)), ""):
        view |= {"remark": remark}
    return view


def _counted(progress: Progress, elapsed: float) -> dict[str, Any]:
    done = (progress.picture - 1 + progress.step / progress.steps) / progress.pictures
    of = f"Picture {progress.picture} of {progress.pictures}, step" if progress.pictures > 1 else "Step"
    left = (progress.seconds_left or 0) + elapsed / done * (progress.pictures - progress.picture) / progress.pictures
    view: dict[str, Any] = {"text": f"{of} {progress.step} of {progress.steps}", "done": done}
    if progress.seconds_left is not None:
        view["left"] = round(left, 1)
    if progress.preview is not None:
        view["preview"] = preview(progress.preview)
    return view


def preview(picture: Image.Image) -> str:
    """A small picture as a data URI."""
    small = picture.convert("RGB")
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return _jpeg(small, 80)


def film(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Every picture of some jobs, the newest first."""
    return [each for job in reversed(jobs) for each in reversed(_frames(job))]


def _frames(job: Job) -> list[dict[str, Any]]:
    finished = [event.painted for event in job.latest() if isinstance(event, Finished) and event.painted.file]
    seconds = job.ending.seconds / max(len(finished), 1) if isinstance(job.ending, Done) else None
    return [
        {
            "job": job.id,
            "name": Path(painted.file or "").name,
            "url": address(painted.file or ""),
            "thumb": thumb(painted.file or ""),
            "recipe": painted.request.to_json(),
            "seed": painted.request.seed,
            "prompt": getattr(painted.request, "prompt", ""),
            "seconds": seconds,
            **sizes(job),
        }
        for painted in finished
    ]


def address(file: str) -> str:
    """Where a page finds one of our files, seen from the page, so that it holds behind any proxy."""
    return f"gradio_api/file={quote(file)}"


@lru_cache(512)
def thumb(file: str) -> str:
    """A picture file as a small data URI; empty where the file is gone."""
    try:
        with Image.open(file) as picture:
            small = picture.convert("RGB")
    except OSError:
        return ""
    small.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
    return _jpeg(small, 85)


def _jpeg(picture: Image.Image, quality: int) -> str:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
