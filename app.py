"""Palimpsest: `python app.py` starts the studio, on one's own machine and as a Hugging Face Space."""

import sys
import threading
from typing import Any

from studio.settings import read


def main() -> None:
    """Serve the page; once it answers, the device thread imports torch and warms the first model."""
    settings, answers = read(), threading.Event()
    settings.prepare()  # before Gradio is imported
    from pipelines.library import Library
    from pipelines.models import models, scan
    from pipelines.runner import Runner
    from pipelines.warming import warm
    from studio.layout import build, launch

    def make_memory() -> Any:
        answers.wait()
        return settings.memory()

    for name, reason in scan(settings.checkpoints).items():
        sys.stdout.write(f"{name} was left out. {reason}\n")
    library = Library(settings.folder)
    runner = Runner(make_memory, library)
    blocks = build(runner, library, settings.model, settings.shared)
    launch(blocks, settings)
    answers.set()
    if settings.model in models:
        runner.chore(warm(settings.model))
    blocks.block_thread()
    runner.close()


if __name__ == "__main__":
    main()
