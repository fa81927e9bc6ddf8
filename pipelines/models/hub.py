"""Downloads from the Hugging Face Hub, only when somebody asks for one: what it would fetch is told first.

huggingface_hub gives the token; its own downloads begin anew after a break (2.4), so the transfer is ours and goes on
where it broke. Nothing but safetensors, json and txt is fetched. It registers nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipelines.errors import BadRequest, StudioError
from pipelines.models.variants import Remote, wanted

if TYPE_CHECKING:
    import httpx

HUB = "https://huggingface.co"
ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}")
UNTOLD = ("pytorch_lora_weights", "diffusion_pytorch_model", "model", "learned_embeds")  # names that every file has
PATIENCE = 30.0  # seconds without a byte
GIB = 1024**3
GATED = "{id} asks for its terms to be accepted: do so at {url}, {then}."


@dataclass(frozen=True)
class Offer:
    """What a download would fetch: files with sizes, and under what licence."""

    id: str
    revision: str
    licence: str
    gated: bool
    files: tuple[Remote, ...]

    @property
    def name(self) -> str:
        """The name it would have here: the repository's, or the file's where that says something."""
        stem = Path(self.files[0].path).stem
        return self.id.partition("/")[2] if self.is_folder or stem in UNTOLD else stem

    @property
    def bytes(self) -> int:
        """How much would be fetched."""
        return sum(each.size for each in self.files)

    @property
    def is_folder(self) -> bool:
        """Whether it is a checkpoint in the diffusers layout, and no single file."""
        return any(each.path == "model_index.json" for each in self.files)


def offer(id: str, file: str = "") -> Offer:
    """What the Hub has under an id such as "stabilityai/sd-turbo"; `file` picks one of several single files.

    Raises BadRequest at what is no id or has nothing the studio can use, StudioError where the Hub does not answer.
    """
    if not ID.fullmatch(id) or ".." in id:
        raise BadRequest(f"{id[:80]!r} is no id of the Hub; one looks like owner/name.")
    with _client() as client, _sentences(id):
        answer = client.get(f"{_hub()}/api/models/{id}", params={"blobs": "true"})
        _refuse(answer, id)
        said = answer.json()
        revision = str(said.get("sha") or "main")
        remotes = [_remote(each) for each in said.get("siblings", [])]
        index = None
        if not file and any(each.path == "model_index.json" for each in remotes):
            found = client.get(_address(id, revision, "model_index.json"))
            _refuse(found, id)
            index = found.json()
    licence = (said.get("cardData") or {}).get("license") or "not stated"
    return Offer(id, revision, str(licence)[:80], bool(said.get("gated")), wanted(id, remotes, index, file))


def _remote(said: dict[str, Any]) -> Remote:
    stored = said.get("lfs") or {}
    return Remote(str(said["rfilename"]), int(said.get("size") or stored.get("size") or 0), stored.get("sha256"))


def free_bytes(folder: Path) -> int:
    """Bytes that the disk of a folder has left."""
    return shutil.disk_usage(folder).free


def refuse_large(found: Offer, folder: Path, missing: int, free: Callable[[Path], int]) -> None:
    """Raises StudioError where the disk has no room for what is still to come."""
    left = free(folder)
    if missing > left:
        raise StudioError(
            f"{found.id} needs {missing / GIB:.1f} GB more, and the disk of {folder} has {left / GIB:.1f} GB left."
        )


@contextmanager
def stream(found: Offer, remote: Remote, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
    """(where it begins, the bytes from there) of one file; a server that cannot begin at `start` begins at 0."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    address = _address(found.id, found.revision, remote.path)
    with _client() as client, client.stream("GET", address, headers=headers) as answer:
        _refuse(answer, found.id)
        yield (start if answer.status_code == 206 else 0), answer.iter_raw()


def _client() -> httpx.Client:
    import httpx
    from huggingface_hub import get_token

    token = get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(
        headers={**headers, "Accept-Encoding": "identity"}, timeout=PATIENCE, follow_redirects=True
    )  # a redirect to another host loses the token


def _hub() -> str:
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def _address(id: str, revision: str, path: str) -> str:
    return f"{_hub()}/{id}/resolve/{quote(revision, safe='')}/{quote(path)}"


def _refuse(answer: httpx.Response, id: str) -> None:
    """Raises a sentence for an answer that is none."""
    from huggingface_hub import get_token

    code, why = answer.status_code, answer.headers.get("X-Error-Code", "")
    if code == 404 or why == "RepoNotFound":
        raise BadRequest(f"There is no {id} on the Hub, or it is private.")
    if code in (401, 403):
        then = "with the account of your token" if get_token() else "then set HF_TOKEN to a token of yours"
        raise StudioError(GATED.format(id=id, url=f"{_hub()}/{id}", then=then))
    if code >= 400:
        raise StudioError(f"The Hub answered {code} for {id}; try again later.")


@contextmanager
def _sentences(id: str) -> Iterator[None]:
    import httpx

    try:
        yield
    except httpx.HTTPError:
        raise StudioError(f"The Hub could not be reached for {id}; is this machine online?") from None
    except (ValueError, KeyError, TypeError, AttributeError, json.JSONDecodeError):
        raise StudioError(f"The Hub's answer for {id} could not be read.") from None
