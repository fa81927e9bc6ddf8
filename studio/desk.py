"""What every tab needs: who paints, what is kept, whose it is, and the parts of the page that all tabs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipelines.errors import Busy, StudioError
from pipelines.job import Job
from pipelines.library import Library
from pipelines.request import Request, validated
from pipelines.runner import Runner
from studio.security import owner_of

FAIR = 4  # jobs in line that one person may have on a shared studio


@dataclass(frozen=True)
class Desk:
    """Handed to each tab as it is drawn."""

    runner: Runner
    library: Library
    shared: bool
    blocks: gr.Blocks
    picker: gr.Dropdown
    gauge: gr.HTML

    def remember(self, request: Request, who: gr.Request) -> None:
        """Keep the settings of whoever asks, for their next page."""
        self.library.remember(owner_of(who, self.shared), request.task, request.model_dump(mode="json"))

    def recall(self, form: type[Request], who: gr.Request) -> Request | None:
        """The settings that whoever asks left behind; None where there are none that still hold."""
        kept: dict[str, Any] = self.library.recall(owner_of(who, self.shared), form.model_fields["task"].default)
        try:
            return validated(form, kept) if kept else None  # type: ignore[no-any-return]
        except StudioError:
            return None

    def submit(self, request: Request, who: gr.Request) -> Job:
        """Put a request in line for whoever asks. Raises Busy, on a shared studio also where one fills the line."""
        owner = owner_of(who, self.shared)
        unfinished = [job for job in self.runner.jobs(owner) if job.ending is None]
        if self.shared and len(unfinished) >= FAIR:
            raise Busy(f"You have {FAIR} jobs in line; others wait, too. Try again when one is done.")
        return self.runner.submit(request, owner)
