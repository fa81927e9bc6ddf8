"""A training from its pictures to its adapter, as a generator of events that can be closed at any of them.

It goes on from its checkpoint wherever it was left: by a pause, by another job, by the end of the studio.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from pipelines.events import Event, Finished, Lesson, Proof, Remark, Result, Stage, Taught
from pipelines.material import prepared, sample
from pipelines.models import ModelSpec, find
from pipelines.models.adapters import adapters
from pipelines.notices import notes_of
from pipelines.painting import paint_one
from pipelines.personalizers import personalizers
from pipelines.pictures import to_pictures
from pipelines.pupil import Pupil, Subject, private, said
from pipelines.study import Study
from pipelines.verdict import examined, work_name
from pipelines.workshop import Run, digest, swept

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.memory import Memory
    from pipelines.shelf import Shelf
    from pipelines.tasks.personalize import Personalize

SAVED = 30.0  # seconds between two checkpoints while nothing interrupts
SWEEP = (0.0, 0.5, 1.0)  # weights of the comparison at the end

Going = Generator[Event, None, Any]


def taught(request: Personalize, memory: Memory, shelf: Shelf) -> Generator[Event, None, Result[Any]]:
    """Teach, keep the adapter, and show what its file does, loaded afresh."""
    remarks: list[str] = []
    if not is_kept(request):
        yield from learned(request, memory, shelf, remarks)
    adapter = adapters[request.word]
    losses = tuple((int(step), float(loss)) for step, loss in adapter.ours["losses"])
    yield Taught(adapter.name, adapter.ours["steps"], losses)
    yield from compared(request, find(request.model), memory, shelf, adapter.ours["steps"])
    return Result((), tuple(remarks))


def is_kept(request: Personalize) -> bool:
    """Whether this very training is done and its adapter here; it was left while that was shown."""
    return request.word in adapters and adapters[request.word].ours.get("run") == digest(request)


def learned(request: Personalize, memory: Memory, shelf: Shelf, remarks: list[str]) -> Going:
    """Teach from the checkpoint on, if there is one, and keep the adapter."""
    workshop = shelf.workshop()
    pictures = examined(request, memory, shelf)
    swept(workshop)
    run, spec = workshop.run(request), private(find(request.model))
    try:
        subject = yield from prepared(request, spec, memory, pictures, run)
        pupil: Pupil = request.method.build(personalizers)(subject)
        study = Study(pupil.weights, request.seed or 0, request.steps, request.rate or pupil.rate())
        study.load(run)
        try:
            yield from schooled(request, subject, pupil, study, run, remarks)
        finally:
            study.save(run)
        yield Stage("Keeping what was learned")
        notes = notes_of(request, spec, pupil, study, pictures)
        workshop.keep(request.word, pupil.tensors(), notes, spec.name, request)
    finally:
        memory.free(spec.net)
    run.drop()


def schooled(request: Personalize, subject: Subject, pupil: Pupil, study: Study, run: Run, remarks: list[str]) -> Going:
    """Step after step, with samples now and then and a checkpoint every half minute."""
    import torch

    yield Stage("Learning")
    yield lesson(study)
    begun, first, saved = time.monotonic(), study.step, time.monotonic()
    with pupil.lent():
        while study.step < request.steps and not (run.is_enough and study.step):
            if study.step % request.every == 0 and study.proven != study.step:
                yield from proofs(request, subject, pupil, study)
            then = time.monotonic()
            with torch.enable_grad():
                trouble = study.learn(lambda chance: pupil.losses(chance, study.step))
            study.seconds += time.monotonic() - then
            if trouble:
                remarks.append(trouble)
                yield Remark(trouble)
            yield lesson(study)
            if time.monotonic() - saved > SAVED:
                study.save(run)
                saved = time.monotonic()
        if study.proven != study.step:
            yield from proofs(request, subject, pupil, study)
    if study.step > first:
        pace = (time.monotonic() - begun) / (study.step - first)
        subject.memory.ledger.note(work_name(subject.spec, subject.memory), subject.spec.side**2, pace)


def lesson(study: Study) -> Lesson:
    """How far a training is."""
    left = study.seconds / max(1, study.step) * (study.steps - study.step)
    return Lesson(study.step, study.steps, seconds_left=left, losses=tuple(study.losses))


def proofs(request: Personalize, subject: Subject, pupil: Pupil, study: Study) -> Going:
    """Pictures of the samples' prompts with what is learned by now; at step 0, they are the model's own."""
    spec, memory = subject.spec, subject.memory
    for k, prompt in enumerate(request.samples):
        yield Stage(f"Painting sample {k + 1} of {len(request.samples)}")
        cond, uncond = pupil.read(said(prompt, subject.phrase)), pupil.read("", negative=True)
        walk = paint_one(sample(request, spec, prompt), spec, memory, cond, uncond)
        latents = yield from told_as(lesson(study), walk)
        with memory.use(spec.vae) as vae:
            picture = to_pictures(spec.decode(vae, latents))[0]
        yield Proof(study.step, prompt, picture, weight=float(study.step > 0))
    study.proven = study.step


def told_as(event: Event, walk: Generator[Event, None, Tensor]) -> Generator[Event, None, Tensor]:
    """The same walk, its events all told as one: a sample's steps are no steps of the training."""
    while True:
        try:
            next(walk)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        yield event


def compared(request: Personalize, spec: ModelSpec, memory: Memory, shelf: Shelf, step: int) -> Going:
    """The first sample at rising weights, painted as anybody would: by the word, with the file that was kept."""
    from pipelines.tasks.text_to_image import text_to_image

    for weight in SWEEP if request.samples else ():
        yield Stage(f"Comparing: the file at weight {weight:g}")
        mention = f"<{request.word}:{weight:g}>"
        prompt = said(request.samples[0], request.word).replace(request.word, mention)
        single = sample(request, spec, prompt)
        for event in text_to_image(single, memory, shelf):
            if isinstance(event, Finished) and event.painted.picture is not None:
                yield Proof(step, request.samples[0], event.painted.picture, weight, loaded=True)
