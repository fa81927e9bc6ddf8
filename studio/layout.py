"""The page: a header, a tab for each registered tab, the API."""

from __future__ import annotations

import sys

import gradio as gr
from starlette.middleware import Middleware

from pipelines.library import Library
from pipelines.runner import Runner
from pipelines.stock import Stock
from studio.api import publish
from studio.desk import Desk
from studio.drawer import Drawer
from studio.header import header
from studio.security import Doorman
from studio.sending import connect
from studio.settings import Settings
from studio.tabs import in_order
from studio.theme import PAGE, head, read, theme

LARGEST_UPLOAD = "64mb"
STYLES = ("page", "canvas", "queue", "gallery", "models", "pile", "zoom", "personalize", "grid")
OFF = dict.fromkeys(("run_history", "enable_monitoring", "pwa", "ssr_mode", "show_error"), False)


def build(
    runner: Runner, library: Library, model: str = "pocket", shared: bool = False, stock: Stock | None = None
) -> gr.Blocks:
    """The whole page and its API. With `shared`, everybody sees and stops only their own jobs and changes no models."""
    with gr.Blocks(title="Palimpsest", fill_width=True, analytics_enabled=False, delete_cache=(3600, 86400)) as blocks:
        picker, gauge, line = header(model)
        desk = Desk(runner, library, shared, blocks, picker, gauge, stock or Stock(library.folder / "models"))
        Drawer(desk).attach(line)
        with gr.Tabs(elem_classes="tabs"):
            for tab in in_order():
                with gr.Tab(tab.name):
                    tab.draw(desk)
        connect(desk)
        publish(desk)
    for event in blocks.fns.values():
        # Else each message of any event has the page look up every output of all events before: five times the work.
        event.show_progress_on = []
    # Served as they are, never copied; their names cannot be guessed.
    served = ("pictures", "shelf", "thumbnails", "exports")
    gr.set_static_paths([library.folder / each for each in served])
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
            css="".join(read(f"{each}.css") for each in STYLES),
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
