"""The look: ink on vellum. Colours, type and shape; the rest is in assets/page/page.css."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes.utils.colors import Color
from gradio.themes.utils.fonts import LocalFont

PAGE = Path(__file__).parents[1] / "assets" / "page"
INK = Color(
    name="ink", c50="#eef0f8", c100="#dde1f0", c200="#bcc5e2", c300="#95a2cf", c400="#6d7db8",
    c500="#4c5d9c", c600="#3b4a82", c700="#2d3a69", c800="#232d53", c900="#1a2140", c950="#11162c",
)  # fmt: skip
VELLUM = Color(
    name="vellum", c50="#faf7f0", c100="#f3eee2", c200="#e5dccb", c300="#d2c6b0", c400="#a99b82",
    c500="#7d715d", c600="#625848", c700="#453e33", c800="#2a2620", c900="#1c1915", c950="#13110e",
)  # fmt: skip
SET: dict[str, tuple[str, ...]] = {  # Gradio's name of a colour or size: by light, and in the dark where that differs
    "body_background_fill": ("*neutral_100", "*neutral_950"),
    "body_text_color": ("*neutral_900", "#ece4d4"),
    "body_text_color_subdued": ("*neutral_600", "#b3a78f"),
    "block_background_fill": ("#fffdf8", "*neutral_900"),
    "block_border_width": ("0px",),
    "block_shadow": ("none",),
    "block_label_text_weight": ("700",),
    "block_title_text_weight": ("700",),
    "block_title_text_color": ("*neutral_900", "#ece4d4"),
    "block_info_text_color": ("*neutral_600", "#b3a78f"),
    "border_color_primary": ("*neutral_300", "*neutral_700"),
    "input_background_fill": ("#fffdf8", "*neutral_950"),
    "input_border_color": ("*neutral_300", "*neutral_700"),
    "input_border_width": ("1px",),
    "input_placeholder_color": ("*neutral_500", "#9a8e77"),
    "button_primary_background_fill": ("*primary_700", "*primary_600"),
    "button_primary_background_fill_hover": ("*primary_800", "*primary_500"),
    "button_primary_text_color": ("#ffffff",),
    "button_secondary_background_fill": ("*neutral_200", "*neutral_800"),
    "button_secondary_background_fill_hover": ("*neutral_300", "*neutral_700"),
    "slider_color": ("*primary_600", "*primary_400"),
}


def theme() -> gr.themes.Base:
    """Gradio's plainest theme in our colours. Of the bundled font only 400 and 700 hold Latin letters."""
    plain = gr.themes.Base(
        primary_hue=INK,
        neutral_hue=VELLUM,
        spacing_size=gr.themes.sizes.spacing_md,
        radius_size=gr.themes.sizes.radius_md,
        font=[LocalFont("IBM Plex Sans", weights=(400, 700)), "ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
    )
    chosen = {name: values[0] for name, values in SET.items()}
    return plain.set(**chosen, **{f"{name}_dark": values[1] for name, values in SET.items() if len(values) > 1})


def read(name: str) -> str:
    """A text file of the page's own: markup, style or script."""
    return (PAGE / name).read_text(encoding="utf-8")


def constants(**values: Any) -> str:
    """A script of constants for another to stand before. Gradio 6.31 may lose the props that a component was drawn with
    where news for it come before its tab is opened; what is in its script stays."""
    return "".join(f"const {name} = {json.dumps(value)};\n" for name, value in values.items())


def head() -> str:
    """What goes into the page's head: the colours of its first moment, and the script for keys and dropped files."""
    return f'<meta name="color-scheme" content="light dark"><script>{read("page.js")}</script>'
