"""Palimpsest: `python app.py` starts the studio, on one's own machine and as a Hugging Face Space."""

import sys
import threading
from typing import Any

from studio.settings import read


def main() -> None:
    """Serve the page; once it answers, the device thread imports torch and warms the first model."""
    settings, answers = read(), threading.Event()
    settings.prepare()  # before Gradio is imported
    from pipelines.models import models
    from pipelines.runner import Runner
    from pipelines.warming import warm
    from studio.layout import build, launch

    def make_memory() -> Any:
        answers.wait()
        return settings.memory()

    stock = settings.stock()
    for refused in stock.rescan():
        sys.stdout.write(f"{refused.name} was left out. {refused.reason}\n")
    library = settings.library()
    runner = Runner(make_memory, library)
    launch(blocks := build(runner, library, settings.model, settings.shared, stock), settings)
    answers.set()
    runner.restore()
    library.settle()
    if settings.model in models:
        runner.chore(warm(settings.model))
    blocks.block_thread()
    runner.close()
    library.close()


if __name__ == "__main__":
    main()
