"""The form of upscaling: size and method first, and of what paints only what the chosen method reads."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipelines.upscalers import upscalers
from studio.easel import Easel
from studio.form import QUIET

ALWAYS = ("source", "more", "times", "edge", "upscaler")


class Enlarging(Easel):
    """An easel whose prompt, quality and advanced fields come and go with methods that paint."""

    def _draw_rail(self) -> None:
        first = self.form.requests[0].model_fields["upscaler"].default.name
        with gr.Column(elem_classes="card"):
            self.form.draw(ALWAYS)
            with gr.Column(visible=upscalers[first].paints, elem_classes="of-mode") as words:
                self.form.draw(["prompt"])
                self._draw_quality()
            self.shape = gr.Radio(["Square"], value="Square", visible=False)
        with gr.Accordion("Advanced", open=False, elem_classes="advanced", visible=upscalers[first].paints) as more:
            self.form.draw([*self.form.fields(advanced=False), *self.form.fields(advanced=True)])
        self._draw_deeds()

        def turn(name: str) -> list[Any]:
            paints = name in upscalers and upscalers[name].paints
            return [gr.update(visible=paints)] * 2

        self.form.controls["upscaler"].change(turn, self.form.controls["upscaler"], [words, more], **QUIET)  # type: ignore[attr-defined]
