"""The doorman: who may speak to this server, what a page may load, and who is who on a shared one."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "palimpsest-owner"
OWNER = re.compile(r"[0-9a-f]{32}")
LOCAL = ("localhost", "127.0.0.1", "[::1]", "testserver")
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors {ancestors}"
)  # gr.HTML builds its templates with new Function, hence unsafe-eval
REMOTE_FILE = re.compile(r"/file=\s*[a-z][a-z0-9+.-]*:", re.IGNORECASE)
UNUSED = re.compile(r"/(gradio_api/(proxy=|vibe-|undo-vibe|dev/|runs|run-history|process_recording)|monitoring)")


class Doorman:
    """ASGI middleware. Refuses foreign hosts and origins, hands out owner cookies, adds the security headers."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...] = (), shared: bool = False, framed: bool = False) -> None:
        self.app, self.shared, self.framed = app, shared, framed
        self._names = {*LOCAL, *hosts}
        self._policy = POLICY.format(
            ancestors="'self' https://huggingface.co https://*.hf.space" if framed else "'self'"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if refusal := self.refusal(scope, headers):
            await PlainTextResponse(refusal, status_code=403)(scope, receive, send)
            return
        fresh = self.shared and scope["path"] == "/" and not owner_in(headers.get("cookie", ""))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._sign(MutableHeaders(scope=message), fresh)
            await send(message)

        await self.app(scope, receive, answer)

    def refusal(self, scope: Scope, headers: Headers) -> str:
        """Why a request is turned away; empty where it is not."""
        host = headers.get("host", "")
        if not self._known(host):
            return "This studio does not answer to that host name."
        origin = headers.get("origin")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and origin and not self._same(origin, host):
            return "This studio takes requests from its own page only."
        if REMOTE_FILE.search(scope["path"]):
            return "This studio fetches nothing from elsewhere."
        if UNUSED.match(scope["path"]):
            return "This studio has no such page."
        return ""

    def _known(self, host: str) -> bool:
        """A name this server goes by. Addresses pass: a page that rebinds DNS to reach us sends its own name."""
        name = bare(host)
        return (
            name in self._names
            or is_address(name)
            or any(name.endswith(each) for each in self._names if each[0] == ".")
        )

    def _same(self, origin: str, host: str) -> bool:
        name = urlsplit(origin).netloc
        return name == host or (bare(name) in self._names and bare(name) not in LOCAL)

    def _sign(self, headers: MutableHeaders, fresh: bool) -> None:
        headers["Content-Security-Policy"] = self._policy
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "same-origin"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        if not self.framed:
            headers["X-Frame-Options"] = "SAMEORIGIN"
        if fresh:
            reach = "SameSite=None; Secure; Partitioned" if self.framed else "SameSite=Lax"
            headers.append(
                "Set-Cookie", f"{COOKIE}={secrets.token_hex(16)}; Path=/; HttpOnly; Max-Age=31536000; {reach}"
            )


def bare(host: str) -> str:
    """A host without its port."""
    return re.sub(r":\d*$", "", host.lower())


def is_address(name: str) -> bool:
    """Whether a host is a plain IP address."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def owner_in(cookies: str) -> str:
    """The owner that a Cookie header names; empty where it names none that we made."""
    try:
        found = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found and OWNER.fullmatch(found.value) else ""


def owner_of(request: Any, shared: bool) -> str:
    """To whom the jobs of a Gradio request belong: to everybody at a personal machine, else to who holds the cookie.

    A digest of the cookie: what is kept of an owner does not let anybody in.
    """
    if not shared:
        return ""
    own = owner_in(request.headers.get("cookie", "")) or f"session {request.session_hash}"
    return hashlib.sha256(own.encode()).hexdigest()[:32]
