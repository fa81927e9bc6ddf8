"""The page: a header, a tab for each registered tab, the API."""

from __future__ import annotations

import sys
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from pipelines.library import Library
from pipelines.runner import Runner
from studio.api import publish
from studio.desk import Desk
from studio.header import header
from studio.security import Doorman
from studio.settings import Settings
from studio.tabs import in_order
from studio.theme import PAGE, head, read, theme

LARGEST_UPLOAD = "64mb"


def build(runner: Runner, library: Library, model: str = "pocket", shared: bool = False) -> gr.Blocks:
    """The whole page and its API. With `shared`, everybody sees and stops only their own jobs."""
    with gr.Blocks(title="Palimpsest", fill_width=True, analytics_enabled=False, delete_cache=(3600, 86400)) as blocks:
        picker, gauge = header(model)
        desk = Desk(runner, library, shared, blocks, picker, gauge)
        with gr.Tabs(elem_classes="tabs"):
            for tab in in_order():
                with gr.Tab(tab.name):
                    tab.draw(desk)
        publish(desk)
    gr.set_static_paths([library.pictures])  # served as they are, never copied; their names cannot be guessed
    blocks.queue(default_concurrency_limit=None)
    return blocks


def launch(blocks: gr.Blocks, settings: Settings, **more: Any) -> tuple[Any, str, str]:
    """Start to serve; returns once the page answers. `more` goes to Gradio's launch."""
    door = settings.door()
    if door and not settings.auth:
        sys.stdout.write(f"This studio can be reached from outside. User: {door[0]}  Password: {door[1]}\n")
    doorman = Middleware(Doorman, hosts=settings.hosts(), shared=settings.shared, framed=settings.space)
    app: tuple[Any, str, str] = blocks.launch(
        server_name=settings.host,
        server_port=settings.port or None,
        share=settings.share,
        auth=door,
        theme=theme(),
        css=read("page.css"),
        head=head(),
        favicon_path=PAGE / "mark.svg",
        footer_links=["api"],
        max_file_size=LARGEST_UPLOAD,
        run_history=False,
        enable_monitoring=False,
        pwa=False,
        ssr_mode=False,
        show_error=False,
        prevent_thread_lock=True,
        app_kwargs={"middleware": [doorman], "docs_url": None, "redoc_url": None, "openapi_url": None},
        **more,
    )
    return app
