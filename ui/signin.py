"""The sign-in page, its sessions, and the gate before everything else. A restart asks everybody to sign in again."""

from __future__ import annotations

import html
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.api import PATHS, too_big

if TYPE_CHECKING:
    from assistant.app import App

COOKIE = "assistant_session"
LIFETIME = 12 * 3600  # seconds since the last request
ATTEMPTS = 8  # failed sign-ins of one name from one address …
WINDOW = 60.0  # … in so many seconds
NOBODY = "There is no user yet. Add the first one on the server's command line."
_OPEN = frozenset({"/login", "/healthz", "/readyz", "/favicon.ico", "/manifest.json", "/robots.txt"})
_CLOSED = tuple(f"/gradio_api/{name}" for name in ("deep_link", "proxy=", "process_recording", "runs", "profiling"))
_UPLOAD = "/gradio_api/upload"
_HEADERS = {
    # Gradio's own page needs inline scripts and Function(); what matters is that nothing can leave for another host
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}


@dataclass
class Sessions:
    """Who is signed in, by token. One instance for one running page."""

    _users: dict[str, tuple[str, float]] = field(default_factory=dict)
    _failures: dict[tuple[str, str], deque[float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, name: str) -> str:
        """A new token for ``name``."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            now = time.monotonic()
            self._users = {key: value for key, value in self._users.items() if now - value[1] < LIFETIME}
            self._users[token] = (name, now)
        return token

    def user(self, token: str | None) -> str | None:
        """The name behind a token, or None where it is unknown or too old."""
        with self._lock:
            name, seen = self._users.get(token or "", ("", 0.0))
            if not name or time.monotonic() - seen > LIFETIME:
                return None
            self._users[token or ""] = (name, time.monotonic())
            return name

    def end(self, token: str | None) -> None:
        """Forget one token."""
        with self._lock:
            self._users.pop(token or "", None)

    def end_all(self, name: str, keep: str | None = None) -> None:
        """Sign ``name`` out everywhere but in the session ``keep``."""
        with self._lock:
            self._users = {key: value for key, value in self._users.items() if value[0] != name or key == keep}

    def failed(self, name: str, address: str) -> None:
        """Remember a wrong password."""
        with self._lock:
            now = time.monotonic()
            self._failures = {key: times for key, times in self._failures.items() if now - times[-1] < WINDOW}
            self._failures.setdefault((name, address), deque(maxlen=ATTEMPTS)).append(now)

    def blocked(self, name: str, address: str) -> bool:
        """Whether this name has failed too often from this address."""
        with self._lock:
            times = self._failures.get((name, address), deque())
            return len(times) == ATTEMPTS and time.monotonic() - times[0] < WINDOW


@dataclass
class Gate:
    """Lets nobody past the sign-in page without a session, and adds the security headers to every answer."""

    inner: ASGIApp
    app: App
    sessions: Sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        if scope["path"].startswith(PATHS):  # programs, which bring a token
            answer: Response | None = too_big(Request(scope).headers)
        else:
            answer = None if scope["path"] in _OPEN else self._refusal(scope)
        await (answer or self.inner)(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        path: str = scope["path"]
        name = self.sessions.user(Request(scope).cookies.get(COOKIE))
        if name is None:
            return RedirectResponse("login", 303) if path == "/" else PlainTextResponse("Sign in first.", 401)
        if path.startswith(_CLOSED) or (path.startswith(_UPLOAD) and not self._may_upload(name)):
            return PlainTextResponse("Not available.", 403)
        return None

    def _may_upload(self, name: str) -> bool:
        user = self.app.users.get(name)
        return user is not None and user.reviews


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            extra = [(key.encode(), value.encode()) for key, value in _HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await send(message)

    return sending


def add_routes(web: FastAPI, app: App, sessions: Sessions) -> None:
    """Add the sign-in page and sign-out to ``web``. They come before Gradio's own routes of the same names."""

    @web.get("/login", response_class=HTMLResponse)
    def page() -> str:
        return _page("" if app.users.list() else NOBODY)

    @web.post("/login")
    def sign_in(
        request: Request, username: Annotated[str, Form()] = "", password: Annotated[str, Form()] = ""
    ) -> Response:
        name, address = username.strip(), request.client.host if request.client else ""
        if sessions.blocked(name, address):
            return HTMLResponse(_page("Too many attempts. Please wait a minute and try again.", name), 429)
        user = app.users.check(name, password)
        if user is None:
            sessions.failed(name, address)
            return HTMLResponse(_page("Name or password is wrong.", name), 401)
        response = RedirectResponse("./", 303)
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, sessions.start(user.name), httponly=True, samesite="lax", secure=secure)
        return response

    @web.post("/logout")
    def sign_out(request: Request) -> Response:
        sessions.end(request.cookies.get(COOKIE))
        response = RedirectResponse("login", 303)
        response.delete_cookie(COOKIE)
        return response


def _page(message: str, name: str = "") -> str:
    style = (Path(__file__).parent / "signin.css").read_text(encoding="utf-8")
    alert = f'<p class="alert" role="alert">{html.escape(message)}</p>' if message else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in · Domain Assistant</title><link rel="icon" href="favicon.ico" type="image/svg+xml">
<style>{style}</style></head><body><main>
<div class="mark"></div><h1>Domain Assistant</h1><p>Answers that quote their sources.</p>{alert}
<form method="post" action="login" id="sign-in">
<label for="username">Name</label>
<input id="username" name="username" autocomplete="username" autocapitalize="none" required autofocus
 value="{html.escape(name, quote=True)}">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button type="submit" id="sign-in-button">Sign in</button>
</form></main></body></html>"""
