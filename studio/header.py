"""The head of the page: name, model picker, memory gauge, help and light."""

from __future__ import annotations

import gradio as gr

from pipelines.models import models
from studio.drawer import drawer
from studio.gauge import gauge
from studio.theme import read


def header(model: str) -> tuple[gr.Dropdown, gr.HTML, gr.HTML]:
    """Draws it, and returns what the tabs need of it: the model picker, the gauge, and the line of jobs."""
    names = [(spec.title, name) for name, spec in models.items()]
    with gr.Row(elem_classes="masthead", equal_height=True):
        gr.HTML(html_template=read("name.html"), elem_classes="name", apply_default_css=False)
        picker = gr.Dropdown(
            names,
            value=model if model in models else next(iter(models), None),
            label="Model",
            show_label=False,
            container=False,
            filterable=len(names) > 8,
            elem_id="model",
            elem_classes="model",
            min_width=160,
        )
        line = drawer()
        meter = gauge()
        gr.HTML(
            html_template=read("tools.html"), js_on_load=read("tools.js"), elem_classes="tools", apply_default_css=False
        )
    return picker, meter, line
