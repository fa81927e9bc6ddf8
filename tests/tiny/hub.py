"""A Hub on loopback that serves files of a folder as the real one does, and fails in the ways the real one fails."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Hub:
    """What it serves and how it behaves; tests change it while it runs."""

    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)  # id -> path -> content
    card: dict[str, Any] = field(default_factory=lambda: {"license": "openrail++"})
    gated: bool = False
    status: int = 200  # of every answer
    error_code: str = ""
    token: str = ""  # without which a gated repository gives nothing
    breaks: list[int] = field(default_factory=list)  # bytes after which the next large answers break off, in turn
    silence: float = 0.0  # seconds that such an answer says nothing more before it breaks off
    ranges: bool = True  # whether it can begin in the middle
    lies: bool = False  # whether it serves other bytes than its digests say
    delay: float = 0.0  # seconds before every piece of 64 kB
    asked: list[tuple[str, str]] = field(default_factory=list)  # (path, Range) of every file that was asked for

    def serve(self, id: str, folder: Path) -> None:
        """Serve every file below a folder as a repository."""
        self.repositories[id] = {
            str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
        }


class Answers(BaseHTTPRequestHandler):
    """One request to a Hub, which its server holds."""

    @property
    def hub(self) -> Hub:
        return self.server.hub  # type: ignore[attr-defined, no-any-return]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        if self.hub.status != 200 or (self.hub.gated and self.hub.token not in self.headers.get("Authorization", "-")):
            self.refuse(self.hub.status if self.hub.status != 200 else 401, self.hub.error_code)
        elif parts[:2] == ["api", "models"]:
            self.listing("/".join(parts[2:4]))
        else:
            self.file("/".join(parts[:2]), "/".join(parts[4:]))

    def refuse(self, status: int, code: str = "") -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def listing(self, id: str) -> None:
        if id not in self.hub.repositories:
            self.refuse(401, "RepoNotFound")
            return
        files = [
            {"rfilename": path, "size": len(held)}
            | (
                {"lfs": {"sha256": hashlib.sha256(held).hexdigest(), "size": len(held)}}
                if path.endswith("tensors")
                else {}
            )
            for path, held in self.hub.repositories[id].items()
        ]
        raw = json.dumps(
            {"sha": "abc123", "gated": self.hub.gated, "cardData": self.hub.card, "siblings": files}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def file(self, id: str, path: str) -> None:
        wanted = self.headers.get("Range", "")
        self.hub.asked.append((path, wanted))
        held = self.hub.repositories[id][path]
        held = held[:-1] + bytes([held[-1] ^ 1]) if self.hub.lies and path.endswith("tensors") else held
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.hub.ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(held) - start))
        self.end_headers()
        end = len(held)
        if self.hub.breaks and end > 20_000:
            end = min(start + self.hub.breaks.pop(0), end)
        silence = self.hub.silence if end < len(held) else 0
        for at in range(start, end, 2**16):
            time.sleep(self.hub.delay)
            self.wfile.write(held[at : min(at + 2**16, end)])
        time.sleep(silence)
        self.close_connection = True


@contextmanager
def hub() -> Iterator[Hub]:
    """A Hub that answers until the block is left."""
    said = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.hub = said  # type: ignore[attr-defined]
    said.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield said
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
