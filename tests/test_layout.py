"""What the page is built of, and how it is served: without torch, without a network, to its own visitors only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from starlette.applications import Starlette
from starlette.requests import Request as WebRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from pipelines.library import Library
from pipelines.runner import Runner
from pipelines.tasks import tasks
from studio.layout import build
from studio.security import COOKIE, Doorman, owner_in
from studio.settings import Settings, read
from studio.tabs import in_order

BUILD = """
import sys, threading
from pathlib import Path
from pipelines.library import Library
from pipelines.runner import Runner
from studio.layout import build
waits = threading.Event()
library = Library(Path(sys.argv[1]))
build(Runner(waits.wait, library), library)
library.remember("", "text_to_image", {"steps": 3})
print("torch" in sys.modules or "diffusers" in sys.modules)
"""


@pytest.fixture
def blocks(tmp_path: Path) -> Iterator[gr.Blocks]:
    library = Library(tmp_path)
    runner = Runner(lambda: None, library)  # type: ignore[arg-type, return-value]  # nothing is painted here
    yield build(runner, library)
    runner.close()


def test_the_page_is_built_and_settings_are_kept_before_torch_is_imported(tmp_path: Path) -> None:
    built = subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert built.stdout.strip() == "False", built.stderr


def test_every_registered_tab_is_on_the_page_in_its_order(blocks: gr.Blocks) -> None:
    drawn = [each.label for each in blocks.blocks.values() if isinstance(each, gr.Tab)]
    assert drawn == [tab.name for tab in in_order()]


def test_every_task_has_an_endpoint_and_no_event_of_the_page_has(blocks: gr.Blocks) -> None:
    public = {fn.api_name for fn in blocks.fns.values() if fn.api_visibility == "public"}
    assert public == {*tasks, "models", "free", "restore", "keep_picture"}


def test_no_event_of_the_page_waits_in_gradios_queue(blocks: gr.Blocks) -> None:
    called = [fn for fn in blocks.fns.values() if not any(event == "unload" for _, event in fn.targets)]
    waiting = [fn.api_name for fn in called if fn.queue and fn.concurrency_limit is not None]
    assert waiting == []


def test_no_event_has_the_page_look_for_its_outputs_at_every_message(blocks: gr.Blocks) -> None:
    """Gradio notes the progress of each output that an event ever had, and says it to all of them at each message."""
    assert {str(each["show_progress_on"]) for each in blocks.config["dependencies"]} == {"[]"}


def test_nothing_on_the_page_names_a_place_elsewhere() -> None:
    page = Path(__file__).parents[1] / "assets" / "page"
    named = [
        (file.name, line)
        for file in page.iterdir()
        for line in file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "").splitlines()
        if "http:" in line or "https:" in line or "url(//" in line
    ]
    assert named == []


def client(**doorman: Any) -> TestClient:
    def answer(request: WebRequest) -> PlainTextResponse:
        return PlainTextResponse("here")

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
    app.add_middleware(Doorman, **doorman)
    return TestClient(app, base_url="http://127.0.0.1:7860")


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "192.168.1.9:7860", "[::1]:7860", "studio.home"])
def test_the_doorman_knows_addresses_and_its_own_names(host: str) -> None:
    assert client(hosts=("studio.home",)).get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.com", "127.0.0.1.evil.com", "localhost.evil.com:7860", "", "notgradio.live"])
def test_the_doorman_answers_to_no_other_name(host: str) -> None:
    assert client(hosts=(".gradio.live",)).get("/", headers={"host": host}).status_code == 403


def test_a_name_with_a_dot_in_front_covers_all_below() -> None:
    assert client(hosts=(".gradio.live",)).get("/", headers={"host": "abc.gradio.live"}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.com", "http://127.0.0.1:9999", "http://6.6.6.6", "null"])
def test_another_page_cannot_post(origin: str) -> None:
    assert client().post("/gradio_api/queue/join", headers={"origin": origin}).status_code == 403


@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:7860"])
def test_the_page_itself_and_clients_without_origin_can_post(origin: str | None) -> None:
    headers = {"origin": origin} if origin else {}
    assert client().post("/gradio_api/queue/join", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["http://evil.com/a.png", "HTTPS://evil.com", "file:///etc/passwd", " ftp://x"])
def test_files_are_not_fetched_from_elsewhere(path: str) -> None:
    assert client().get(f"/gradio_api/file={path}").status_code == 403


@pytest.mark.parametrize("path", ["proxy=https://x.hf.space/", "vibe-edit/", "run-history/records", "dev/reload"])
def test_what_gradio_brings_and_the_studio_does_not_use_is_shut(path: str) -> None:
    assert client().get(f"/gradio_api/{path}").status_code == 403


def test_answers_carry_the_security_headers() -> None:
    headers = client().get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_a_shared_studio_gives_everybody_an_owner_of_their_own_and_keeps_it() -> None:
    first, second = client(shared=True), client(shared=True)
    owners = [owner_in(f"{COOKIE}={each.get('/').cookies[COOKIE]}") for each in (first, second)]
    assert len(set(owners)) == 2
    assert all(owners)
    assert "set-cookie" not in first.get("/").headers
    assert "set-cookie" not in client().get("/").headers


@pytest.mark.parametrize("value", ["", "short", "x" * 32, "../../etc/passwd"])
def test_an_owner_that_we_did_not_make_is_nobody(value: str) -> None:
    assert owner_in(f"{COOKIE}={value}") == ""


def test_settings_come_from_flags_and_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PALIMPSEST_PORT", "7001")
    monkeypatch.setenv("PALIMPSEST_FOLDER", str(tmp_path))
    settings = read(["--device", "cpu", "--ram", "2.5"])
    assert (settings.port, settings.device, settings.ram, settings.folder) == (7001, "cpu", 2.5, tmp_path)


@pytest.mark.parametrize("wrong", [["--port", "x"], ["--vram", "-1"], ["--device", "abacus"]])
def test_a_wrong_flag_gets_a_sentence_that_names_it(wrong: list[str]) -> None:
    with pytest.raises(SystemExit, match=wrong[0]):
        read(wrong)


def test_a_studio_on_ones_own_machine_has_no_door_and_a_shared_one_always_has() -> None:
    assert Settings().door() is None
    user, password = Settings(host="0.0.0.0").door() or ("", "")
    assert user
    assert len(password) >= 12
    assert Settings(share=True).door() != Settings(share=True).door()
    assert Settings(share=True, auth="ann:secret").door() == ("ann", "secret")


def test_a_space_listens_to_its_proxy_and_leaves_the_door_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "somebody/palimpsest")
    settings = Settings()
    assert settings.host == "0.0.0.0"
    assert settings.shared
    assert settings.door() is None
