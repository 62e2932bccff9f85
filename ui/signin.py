"""The sign-in page, its sessions, and the gate before everything else. A restart asks everybody to sign in again."""

from __future__ import annotations

import html
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
from fastapi import FastAPI, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui import api
from ui.packs import BIGGEST

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.users import Users

COOKIE = "assistant_session"
IDLE = 12 * 3600  # seconds since the last request; an open page asks every few seconds
LONGEST = 24 * 3600  # seconds since the sign-in, however busy
FRESH = 2.0  # seconds until a session is held against its user's password again
ATTEMPTS = 8  # failed sign-ins of one name from one address …
ATTEMPTS_OF_ADDRESS = 30  # … of all names from one address …
ATTEMPTS_OF_NAME = 50  # … of one name from all addresses …
WINDOW = 60.0  # … in so many seconds
CHECKS = 2  # passwords checked at once: each takes 64 MiB
FORM = 10_000  # bytes of a request of somebody who is not signed in …
PAGE = 2_000_000  # … of a user of the page …
UPLOAD = 4 * BIGGEST  # … and of who may upload: a few files
NOBODY = "There is no user yet. Add the first one on the server's command line."
_OPEN = frozenset({"/login", "/healthz", "/readyz", "/favicon.ico", "/manifest.json", "/robots.txt"})
_CLOSED = tuple(
    f"/gradio_api/{name}"
    for name in ("deep_link", "proxy=", "file=http", "file/http", "process_recording", "runs", "profiling")
)
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


@dataclass(slots=True)
class _Session:
    """One sign-in. Times are seconds of the monotonic clock."""

    name: str
    stamp: str  # the user's, when the password was checked
    started: float
    seen: float  # the last request
    compared: float  # the last look at the user's stamp

    def over(self, now: float) -> bool:
        """Whether it is too old, or was left alone for too long."""
        return now - self.seen > IDLE or now - self.started > LONGEST


@dataclass
class Sessions:
    """Who is signed in, by token, and who tried in vain. One instance for one running page."""

    users: Users
    _open: dict[str, _Session] = field(default_factory=dict)
    _tries: dict[tuple[str | None, str | None], list[float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, name: str, stamp: str) -> str:
        """A new token for ``name``, good as long as their stamp is ``stamp``."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            now = time.monotonic()
            self._open = {key: one for key, one in self._open.items() if not one.over(now)}
            self._open[token] = _Session(name, stamp, now, now, now)
        return token

    def user(self, token: str | None) -> str | None:
        """The name behind a token; None where it is unknown or too old, or the password was changed since."""
        with self._lock:
            session = self._open.get(token or "")
        now = time.monotonic()
        if session is None or session.over(now):
            return None
        if now - session.compared > FRESH:
            if self.users.stamp(session.name) != session.stamp:
                return None
            session.compared = now
        session.seen = now
        return session.name

    def end(self, token: str | None) -> None:
        """Forget one token."""
        with self._lock:
            self._open.pop(token or "", None)

    def end_all(self, name: str, keep: str | None = None) -> None:
        """Sign ``name`` out everywhere but in the session ``keep``, which goes on with the password they have now."""
        stamp = self.users.stamp(name)
        with self._lock:
            self._open = {key: one for key, one in self._open.items() if one.name != name or key == keep}
            kept = self._open.get(keep or "")
            if kept and kept.name == name and stamp:
                kept.stamp = stamp

    def attempt(self, name: str, address: str) -> bool:
        """Count a try to sign in, before it is checked; False where there were too many in the last minute."""
        with self._lock:
            now = time.monotonic()
            recent = ((key, [one for one in times if now - one < WINDOW]) for key, times in self._tries.items())
            self._tries = {key: times for key, times in recent if times}
            limits = _limits(name, address)
            if any(len(self._tries.get(key, ())) >= most for key, most in limits.items()):
                return False
            for key in limits:
                self._tries.setdefault(key, []).append(now)
            return True

    def succeeded(self, name: str, address: str) -> None:
        """Take a counted try back, as it was right."""
        with self._lock:
            for key in _limits(name, address):
                if times := self._tries.get(key):
                    times.pop()


def _limits(name: str, address: str) -> dict[tuple[str | None, str | None], int]:
    return {(name, address): ATTEMPTS, (None, address): ATTEMPTS_OF_ADDRESS, (name, None): ATTEMPTS_OF_NAME}


@dataclass
class Gate:
    """Lets nobody past the sign-in page without a session, reads no giant requests, adds the security headers."""

    inner: ASGIApp
    app: App
    sessions: Sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        path: str = scope["path"]
        if path.startswith(api.PATHS):  # programs, which bring a token
            answer, most = None, api.BIGGEST
        elif path in _OPEN:
            answer, most = None, FORM
        else:
            name = self.sessions.user(Request(scope).cookies.get(COOKIE))
            answer, most = self._refusal(path, name), self._most(scope["method"], name)
        await (answer or self.inner)(scope, _counted(receive, most), _with_headers(send))

    def _refusal(self, path: str, name: str | None) -> Response | None:
        if name is None:
            return RedirectResponse("login", 303) if path == "/" else PlainTextResponse("Sign in first.", 401)
        if path.startswith(_CLOSED) or (path.startswith(_UPLOAD) and not self._may_upload(name)):
            return PlainTextResponse("Not available.", 403)
        return None

    def _most(self, method: str, name: str | None) -> int:
        """Bytes that a request may have."""
        if name is None or method != "POST":
            return FORM
        return UPLOAD if self._may_upload(name) else PAGE

    def _may_upload(self, name: str) -> bool:
        user = self.app.users.get(name)
        return user is not None and user.reviews


def _counted(receive: Receive, most: int) -> Receive:
    """``receive`` until a body has more than ``most`` bytes, whatever its headers say."""
    read = 0

    async def receiving() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > most:
            raise HTTPException(413, f"a request here has at most {most:,} bytes, this one has more")
        return message

    return receiving


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            extra = [(key.encode(), value.encode()) for key, value in _HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await send(message)

    return sending


def add_routes(web: FastAPI, app: App, sessions: Sessions) -> None:
    """Add the sign-in page and sign-out to ``web``. They come before Gradio's own routes of the same names."""

    checks = anyio.CapacityLimiter(CHECKS)  # who waits for it holds no thread

    def signed_in(name: str, password: str) -> str | None:
        stamp = app.users.stamp(name)  # before the check: a password changed meanwhile ends this session
        user = app.users.check(name, password)
        return sessions.start(user.name, stamp) if user and stamp else None

    @web.get("/login", response_class=HTMLResponse)
    def page() -> str:
        return _page("" if app.users.list() else NOBODY)

    @web.post("/login")
    async def sign_in(
        request: Request, username: Annotated[str, Form()] = "", password: Annotated[str, Form()] = ""
    ) -> Response:
        name, address = username.strip(), request.client.host if request.client else ""
        if not sessions.attempt(name, address):
            return HTMLResponse(_page("Too many attempts. Please wait a minute and try again.", name), 429)
        token = await anyio.to_thread.run_sync(signed_in, name, password, limiter=checks)
        if token is None:
            return HTMLResponse(_page("Name or password is wrong.", name), 401)
        sessions.succeeded(name, address)
        response = RedirectResponse("./", 303)
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, token, httponly=True, samesite="lax", secure=secure)
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
