"""Fixtures for tests in a real browser: import them into a conftest, beside a ``site`` fixture with the address.

Every page that ``page_for`` opens is watched: console errors and requests to other hosts fail the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PageFor = Callable[..., Page]


@dataclass
class Watch:
    """What pages did that they should not."""

    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def look_at(self, page: Page) -> None:
        """Record the page's console errors and its requests to other hosts."""
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: None if _inside(request.url) else self.outside.append(request.url))

    def reload(self, page: Page) -> None:
        """Reload the page, and forget what it said on leaving: Gradio aborts its open streams aloud."""
        before = list(self.errors)
        page.reload(wait_until="commit")
        self.errors[:] = before
        page.wait_for_load_state()


def _inside(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "data:", "blob:", "about:"))


@contextlib.contextmanager
def serving(build: Callable[[], FastAPI]) -> Iterator[str]:
    """Serve what ``build`` makes on a free port; yields its address, ending in a slash.

    It is built inside the server's event loop, because Gradio opens loops of its own, unclosed, where none runs.
    """
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    started: Future[uvicorn.Server] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(build, listener, started)), daemon=True)
    thread.start()
    server = started.result(timeout=60)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(15)
        listener.close()


async def _serve(build: Callable[[], FastAPI], listener: socket.socket, started: Future[uvicorn.Server]) -> None:
    try:
        server = uvicorn.Server(uvicorn.Config(build(), log_level="warning", timeout_graceful_shutdown=1))
    except BaseException as error:
        started.set_exception(error)
        raise
    started.set_result(server)  # connections wait in the listener until it accepts
    await server.serve(sockets=[listener])


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Playwright itself; one a module, because its event loop blocks asyncio in this thread."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """A Chromium."""
    chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    yield chromium
    chromium.close()


@pytest.fixture
def watch() -> Iterator[Watch]:
    """What this test's pages did; clean at the end, or the test fails."""
    watching = Watch()
    yield watching
    assert watching.outside == [], watching.outside
    assert watching.errors == [], watching.errors


@pytest.fixture
def page_for(browser: Browser, site: str, watch: Watch) -> Iterator[PageFor]:
    """``page_for(user, password)`` signs in with a browser profile of its own and waits for the chat.

    ``page_for(None)`` stays on the sign-in page; other arguments go to ``browser.new_context``.
    """
    contexts = []

    def opened(user: str | None, password: str | None = None, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 820}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)  # ms
        watch.look_at(page)
        page.goto(site)
        if user is not None:
            sign_in(page, user, password or f"{user}-password")
            page.wait_for_selector("#history .welcome, #history .turn")
        return page

    yield opened
    for context in contexts:
        context.close()


def sign_in(page: Page, user: str, password: str) -> None:
    """Fill in and send the sign-in form."""
    page.fill("#username", user)
    page.fill("#password", password)
    page.click("#sign-in-button")


def ask(page: Page, text: str) -> None:
    """Ask, and wait until the turn has ended (it may be held)."""
    before = page.locator("#history .turn").count()
    page.fill("#question textarea", text)
    page.press("#question textarea", "Enter")
    page.wait_for_function("count => document.querySelectorAll('#history .turn').length > count", arg=before)
