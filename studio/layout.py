"""The page: a header, a tab for each registered tab, the API."""

from __future__ import annotations

import sys

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
OFF = dict.fromkeys(("run_history", "enable_monitoring", "pwa", "ssr_mode", "show_error"), False)


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


def launch(blocks: gr.Blocks, settings: Settings) -> str:
    """Start to serve, and return the address once the page answers. Exits with a sentence where the port is taken."""
    door = settings.door()
    doorman = Middleware(Doorman, hosts=settings.hosts(), shared=settings.shared, framed=settings.space)
    try:
        _, url, link = blocks.launch(
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
            app_kwargs={"middleware": [doorman], "docs_url": None, "redoc_url": None, "openapi_url": None},
            prevent_thread_lock=True,
            quiet=True,
            **OFF,
        )
    except OSError:
        raise SystemExit(f"Port {settings.port} of {settings.host} cannot be used; --port names another.") from None
    sys.stdout.write(f"Palimpsest is at {link or url}\n")
    if door and not settings.auth:
        sys.stdout.write(f"It can be reached from outside. User: {door[0]}  Password: {door[1]}\n")
    sys.stdout.flush()
    return str(url)
