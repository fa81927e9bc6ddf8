"""The API on a live port, through gradio_client: parameters, files, progress, cancelling, sentences, who owns what."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from pipelines.events import Cancelled
from pipelines.tasks.text_to_image import TextToImage
from tests.browser.live import LONG, QUICK, Live, live

NAME = "/text_to_image"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("studio")) as served:
        yield served


@pytest.fixture
def client(studio: Live, tmp_path: Path) -> Iterator[Client]:
    yield Client(studio.url, verbose=False, download_files=str(tmp_path))
    studio.rest()


def ended(job: Any, seconds: float = 20) -> None:
    """Wait until a job of the runner has ended."""
    for _ in job.events(timeout=seconds):
        pass


def test_parameters_are_the_fields_of_the_request_with_their_defaults(client: Client) -> None:
    endpoint: Any = client.view_api(return_format="dict", print_info=False)["named_endpoints"][NAME]  # type: ignore[index]
    given = {each["parameter_name"]: each["parameter_default"] for each in endpoint["parameters"]}
    assert given.keys() == TextToImage.model_fields.keys() - {"task"}
    assert (given["steps"], given["sampler"], given["seed"]) == (25, "dpmpp_2m", None)
    assert [each["label"] for each in endpoint["returns"]] == ["files", "request", "progress"]


def test_a_call_returns_the_files_and_the_request_with_its_seed(client: Client) -> None:
    files, request, progress = client.predict(**QUICK, prompt="a cat", count=2, api_name=NAME)
    pictures = [Image.open(file) for file in files]
    recipes = [json.loads(each.text["palimpsest"]) for each in pictures]  # type: ignore[attr-defined]
    assert [each.format for each in pictures] == ["PNG", "PNG"]
    assert [each["seed"] for each in recipes] == [request["seed"], request["seed"] + 1]
    assert progress["state"] == "done"


def test_the_request_that_came_back_paints_the_same_pixels(client: Client) -> None:
    first, request, _ = client.predict(**QUICK, prompt="a cat", api_name=NAME)
    request.pop("task")
    second, _, _ = client.predict(**request, api_name=NAME)
    assert Image.open(first[0]).tobytes() == Image.open(second[0]).tobytes()


def test_progress_counts_the_steps(client: Client) -> None:
    job = client.submit(**{**QUICK, "steps": 60}, prompt="a dog", api_name=NAME)
    reports = [progress for _, _, progress in job]
    assert any(each["state"] == "working" and 0 < each.get("done", 0) < 1 for each in reports)
    assert reports[-1]["state"] == "done"


def test_cancelling_from_the_client_stops_the_job(client: Client, studio: Live) -> None:
    job = client.submit(**LONG, prompt="a dog", api_name=NAME)
    while not (job.outputs() and job.outputs()[-1][2].get("done")):
        time.sleep(0.05)
    running = studio.runner.jobs()[-1]
    job.cancel()
    ended(running)
    assert isinstance(running.ending, Cancelled)
    assert client.predict(**QUICK, api_name=NAME)[2]["state"] == "done"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"steps": 500}, "^Steps: "),
        ({"prompt": "x" * 10_000}, "^Prompt: "),
        ({"model": "nix"}, "no model called 'nix'"),
        ({"sampler": "eulr"}, "Did you mean 'euler'"),
        ({"sampler": {"name": "heun", "knobs": {"churn": -1}}}, "^Churn: "),
        ({"width": "wide"}, "^Width: "),
        ({"seed": -1}, "^Seed: "),
        ({"model": "../../../etc/passwd"}, "no model called"),
        ({"guidance": 7}, "^Guidance: "),
    ],
    ids=lambda each: str(each)[:30],
)
def test_a_wrong_call_gets_a_sentence_that_names_its_field(client: Client, wrong: Any, sentence: str) -> None:
    with pytest.raises(AppError, match=sentence):
        client.predict(**{**QUICK, **wrong}, api_name=NAME)


def test_restore_gives_back_the_request_of_a_picture(client: Client) -> None:
    files, request, _ = client.predict(**QUICK, prompt="a red house", api_name=NAME)
    assert client.predict(picture=handle_file(files[0]), api_name="/restore") == request


def test_restore_says_what_is_wrong_with_other_files(client: Client, tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    Image.new("RGB", (8, 8)).save(plain)
    (tmp_path / "text.png").write_text("no picture")
    for name, sentence in [("plain.png", "no recipe"), ("text.png", "not a picture")]:
        with pytest.raises(AppError, match=sentence):
            client.predict(picture=handle_file(tmp_path / name), api_name="/restore")


def test_models_are_listed_and_free_empties_the_memory(client: Client, studio: Live) -> None:
    assert "toy" in [each["name"] for each in client.predict(api_name="/models")]
    client.predict(**QUICK, api_name=NAME)
    assert client.predict(api_name="/free") > 0
    assert studio.runner.memory is not None
    assert studio.runner.memory.used() == 0


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../../etc/passwd", "settings", "seconds.json", "http://127.0.0.1:1/x.png", "%2e%2e/x", ".."],
)
def test_no_file_but_pictures_is_served(studio: Live, path: str) -> None:
    inside = f"{studio.library.folder}/{path}"
    for asked in (path, inside):
        assert httpx.get(f"{studio.url}gradio_api/file={asked}").status_code in (403, 404)


def test_a_path_in_a_drop_that_was_not_uploaded_is_refused(studio: Live) -> None:
    from pipelines.errors import BadPicture
    from studio.uploads import uploaded

    for path in ("/etc/passwd", "../x", "", "\0", str(studio.library.pictures)):
        with pytest.raises(BadPicture):
            uploaded(path)


def test_an_upload_is_gone_after_it_was_read(client: Client, studio: Live, tmp_path: Path) -> None:
    from gradio.utils import get_upload_folder

    plain = io.BytesIO()
    Image.new("RGB", (8, 8)).save(plain, "PNG")
    (tmp_path / "gone.png").write_bytes(plain.getvalue())
    with pytest.raises(AppError):
        client.predict(picture=handle_file(tmp_path / "gone.png"), api_name="/restore")
    assert not list(Path(get_upload_folder()).rglob("gone.png"))


OPEN = {
    *("/", "/login", "/login/", "/logout", "/login_check", "/login_check/", "/token", "/token/", "/user", "/user/"),
    *("/theme.css", "/robots.txt", "/favicon.ico", "/manifest.json", "/pwa_icon", "/svelte/{path:path}"),
    *("/static/{path:path}", "/assets/{path:path}", "/custom_component/{id}/{environment}/{type}/{file_name}"),
    *("/app_id", "/app_id/", "/startup-events", "/heartbeat/{session_hash}", "/cancel", "/dev/reload", "/{page}"),
}  # what shows nothing of the studio's: the door itself, Gradio's own files, signs of life


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("closed"), host="0.0.0.0", auth="ann:secret") as served:
        yield Live(served.url.replace("0.0.0.0", "127.0.0.1"), served.runner, served.library)


def asked(url: str, route: str, method: str) -> int:
    """The status of a route that somebody without a login asks for."""
    path = re.sub(r"\{[^}]*\}", "x", route).lstrip("/")
    return httpx.request(method, f"{url}{path}", json={} if method == "POST" else None, timeout=5).status_code


def test_no_route_answers_who_has_no_login(closed: Live) -> None:
    from gradio.routes import App

    app = App.create_app(gr.Blocks(analytics_enabled=False), auth_dependency=None)
    known = set(every_route(app))
    assert len(known) > 60
    answered = {
        (path, method)
        for path, method in known
        if path.removeprefix("/gradio_api") not in OPEN and asked(closed.url, path, method) < 400
    }
    assert answered == set()


def every_route(app: Any) -> list[tuple[str, str]]:
    """Path and method of all routes of Gradio's app, those of its router too."""
    own = [(each.path, each.methods) for each in app.routes if getattr(each, "methods", None)]
    routers = [each.original_router for each in app.routes if hasattr(each, "original_router")]
    below = [(each.path, each.methods) for router in routers for each in router.routes]
    return [(path, method) for path, methods in own + below for method in methods & {"GET", "POST"}]


def test_a_shared_studio_gives_every_client_jobs_of_its_own(closed: Live) -> None:
    ann, bob = (Client(closed.url, auth=("ann", "secret"), verbose=False) for _ in range(2))
    jobs = [each.submit(**LONG, api_name=NAME) for each in (ann, bob)]
    while not all(job.outputs() for job in jobs):
        time.sleep(0.05)
    assert len({each.owner for each in closed.runner.jobs()} - {""}) == 2
    with pytest.raises(AppError, match="only its host"):
        bob.predict(api_name="/free")
    for job in jobs:
        job.cancel()
    closed.rest()


def test_nobody_fills_the_line_of_a_shared_studio(closed: Live) -> None:
    client = Client(closed.url, auth=("ann", "secret"), verbose=False)
    jobs = [client.submit(**LONG, api_name=NAME) for _ in range(4)]
    while not all(job.outputs() for job in jobs):
        time.sleep(0.05)
    with pytest.raises(AppError, match="4 jobs in line"):
        client.predict(**QUICK, api_name=NAME)
    for job in jobs:
        job.cancel()
    closed.rest()
