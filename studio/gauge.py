"""The memory gauge in the header: what the device holds, by its own account."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipelines.runner import Runner
from studio.theme import read

GIB = 1024**3
NAMES = {"cuda": "GPU", "mps": "GPU", "cpu": "CPU"}


def gauge() -> gr.HTML:
    """Memory in use as a meter; opened, the networks that are loaded. Its value is `level`."""
    return gr.HTML(
        {"state": "starting"},
        html_template=read("gauge.html"),
        js_on_load=read("gauge.js"),
        apply_default_css=False,
        elem_classes="gauge",
    )


def level(runner: Runner) -> dict[str, Any]:
    """Memory of the device in gigabytes, and what is loaded, as the gauge shows it."""
    memory = runner.memory
    if memory is None:
        return {"state": "starting"}
    residents = [each for each in memory.residents() if each.taken]
    return {
        "state": "ready",
        "device": NAMES.get(memory.device.kind, memory.device.kind),
        "used": round(memory.device.used() / GIB, 1),
        "total": round(memory.device.total() / GIB, 1),
        "parts": [{"name": each.part.name, "megabytes": round(each.taken / 2**20)} for each in residents],
    }
